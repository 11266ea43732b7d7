"""A basket in the session, and what a visitor sees of an outage."""

import sys

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views import defaults

from switchover import Unavailable


def basket(request):
    """Shows the basket; a POST puts an item into it. A visitor does not have to log in first."""
    if request.method == "POST":
        request.session["basket"] = [*request.session.get("basket", []), request.POST.get("item", "")[:100]]
        return redirect("basket")
    return render(request, "basket.html", {"basket": request.session.get("basket", [])})


def server_error(request):
    """Answers 503 in an outage of the sessions. The cookie stays, so the visitor is logged in afterwards.

    A middleware would not do: Django saves a session after the view, in a middleware of its own, and turns what is
    raised there into an answer before another one sees it.
    """
    if isinstance(sys.exc_info()[1], Unavailable):
        words = "We cannot reach your basket. Please try again.\n"
        return HttpResponse(words, status=503, headers={"Retry-After": "1"})
    return defaults.server_error(request)
