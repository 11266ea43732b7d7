"""A small site: a basket, a logout, and a view in the middle of which something else happens."""

from django.http import HttpResponse, JsonResponse
from django.urls import path

#: What happens in the middle of `slow`.
meanwhile = []


def put(request, item):
    basket = request.session.get("basket", [])
    request.session["basket"] = [*basket, item]
    return JsonResponse(request.session["basket"], safe=False)


def show(request):
    return JsonResponse(request.session.get("basket", []), safe=False)


def slow(request):
    request.session["seen"] = True
    for act in meanwhile:
        act()
    return HttpResponse("done")


def rename(request):
    len(request.session.keys())
    for act in meanwhile:
        act()
    request.session.cycle_key()
    return HttpResponse("done")


def logout(request):
    request.session.flush()
    return HttpResponse("bye")


urlpatterns = [
    path("put/<item>", put),
    path("show", show),
    path("slow", slow),
    path("rename", rename),
    path("logout", logout),
]
