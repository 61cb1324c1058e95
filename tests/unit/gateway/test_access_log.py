from app.gateway.access_log import access_line


def test_a_line_shows_the_template_and_a_known_method():
    line = access_line(
        "admin", "r-1", method="GET", route="/admin/v1/keys/{id}", status=503, took_ns=2_500_000, at_ns=10**18
    )
    assert (line.logger, line.level, line.method, line.route) == (
        "admin.request",
        "warning",
        "GET",
        "/admin/v1/keys/{id}",
    )
    assert (line.duration_ms, line.overhead_ms) == (2, 2.5)


def test_a_method_that_a_caller_made_up_is_not_shown():
    line = access_line("gateway", "r-1", method="SECRET", route="other", status=405, took_ns=0, at_ns=0)
    assert line.method == "other"
