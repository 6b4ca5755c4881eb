"""HTTP routes: parse the request, run an operation or query, render the view."""
