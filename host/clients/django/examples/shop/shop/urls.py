"""The pages of the shop."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from shop import views

handler500 = views.server_error
urlpatterns = [
    path("", views.basket, name="basket"),
    path("login/", LoginView.as_view(template_name="login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
