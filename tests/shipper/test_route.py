"""
Routes as users of logspout wrote them, and what is said about those that cannot be meant.
"""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shipper.errors import RouteError, ShipperError
from shipper.given import MAX_DELAY_S, parse_delay_s
from shipper.route import Route, is_region, parse_route
from shipper.settings import AGENT, CONTAINER, ROUTE, SETTINGS


def parsed(options="", /, **environ):
    return parse_route(f"cloudwatch://us-east-1?{options}", environ)


def refusal(text, environ=None):
    with pytest.raises(RouteError) as caught:
        parse_route(text, environ or {})
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.isprintable()
    return message


def outcome(text, environ):
    """
    The route, or else the message of its refusal.
    """
    try:
        return parse_route(text, environ), ""
    except RouteError as exc:
        return None, str(exc)


# The region


@pytest.mark.parametrize(
    "region",
    ["us-east-1", "us-gov-west-1", "cn-north-1", "us-isob-east-1", "eusc-de-east-1", "ap-south-2"],
)
def test_a_region_is_taken_as_it_is(region):
    assert parse_route(f"cloudwatch://{region}", {}).region == region
    assert is_region(region)


@pytest.mark.parametrize(
    "text", ["cloudwatch://", "cloudwatch://auto", "CloudWatch://AUTO", "cloudwatch://?DEBUG", None]
)
def test_no_region_and_auto_mean_that_it_is_to_be_found(text):
    assert parse_route(text, {}).region is None


@pytest.mark.parametrize(
    "host", ["useast1", "us-east", "localhost", "us_east_1", "us-east-1.", "us-east-1%20", "-1"]
)
def test_what_has_not_the_shape_of_a_region_is_refused_and_shown(host):
    message = refusal(f"cloudwatch://{host}")
    assert repr(host) in message
    assert "us-east-1" in message


def test_a_region_in_capitals_gets_the_right_spelling():
    assert "did you mean eu-west-3?" in refusal("cloudwatch://EU-West-3")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must begin with cloudwatch://"),
        ("us-east-1", "must begin with cloudwatch://"),
        ("cloudwatch:us-east-1", "must begin with cloudwatch://"),
        ("syslog://logs.example.com", "cannot begin with 'syslog'"),
        ("multiline+cloudwatch://auto", "--multiline PATTERN"),
        ("cloudwatch://us-east-1:443", "a port; for another endpoint"),
        ("cloudwatch://us-east-1/logs", "has a path"),
        ("cloudwatch://us-east-1,us-west-2", "several regions"),
        ("cloudwatch://auto,syslog://logs.example.com", "several routes"),
        ("cloudwatch://auto?NOEC2,cloudwatch://us-east-1", "several routes"),
        ("cloudwatch://auto?LOGSPOUT_GROUP=a#b", "write %23"),
        ("cloudwatch://auto#b", "write %23"),
        ("cloudwatch://auto?NOEC2;DEBUG", "write %3B"),
    ],
)
def test_what_is_no_route_of_ours_is_refused_with_the_remedy(text, said):
    assert said in refusal(text)


def test_a_password_in_the_route_is_refused_and_not_shown():
    message = refusal("cloudwatch://admin:hunter2@us-east-1")
    assert "names a user" in message
    assert "hunter2" not in message


def test_blanks_around_the_route_do_no_harm():
    assert parse_route(" cloudwatch://us-east-1\n", {}).region == "us-east-1"


def test_without_a_route_logspouts_own_variable_is_the_route():
    environ = {"ROUTE_URIS": "cloudwatch://eu-west-1?DEBUG"}
    assert parse_route(None, environ).region == "eu-west-1"
    assert parse_route("cloudwatch://us-east-1", environ) == Route(region="us-east-1")


def test_the_images_own_command_yields_to_logspouts_variable():
    environ = {"ROUTE_URIS": "cloudwatch://eu-west-1?DEBUG"}
    assert parse_route("cloudwatch://auto", environ) == Route(region="eu-west-1", debug=True)
    assert parse_route("cloudwatch://auto?NOEC2", environ) == Route(use_ec2=False)
    assert parse_route("cloudwatch://auto", {}) == Route()


# Options


def test_a_bare_route_gives_the_documented_defaults():
    assert parsed() == Route(
        region="us-east-1",
        delay_s=4.0,
        use_ec2=True,
        debug=False,
        group_template="{{.LoggerHost}}",
        stream_template="{{.Name}}",
        filter_name="",
        filter_id="",
        filter_labels=(),
        filter_sources=(),
        exclude_labels=(),
        allow_tty=False,
        backlog=True,
        tail=None,
    )


def test_the_example_of_the_old_manual_works():
    route = parsed("DEBUG=1&NOEC2")
    assert route.debug
    assert not route.use_ec2


@pytest.mark.parametrize("value", ["NOEC2", "NOEC2=", "NOEC2=1", "NOEC2=true", "NOEC2=please"])
def test_a_switch_is_on_by_being_there(value):
    assert not parsed(value).use_ec2


@pytest.mark.parametrize("value", ["false", "0", "no", "off", "FALSE"])
def test_a_switch_set_to_false_counts_as_not_given(value):
    assert parsed(f"NOEC2={value}").use_ec2
    assert parsed(NOEC2=value).use_ec2
    assert not parsed(f"DEBUG={value}").debug


def test_a_switch_in_one_place_is_enough():
    assert not parsed("NOEC2=false", NOEC2="1").use_ec2
    assert parsed("DEBUG", DEBUG="0").debug
    assert parsed(DEBUG="yes").debug


def test_a_blank_value_in_the_environment_counts_as_not_given():
    blank = dict.fromkeys(SETTINGS, " ")
    assert parse_route("cloudwatch://us-east-1", blank) == parsed()
    assert parse_route(None, blank) == Route()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("LOGSPOUT_GRUOP", "LOGSPOUT_GROUP"),
        ("logspout_stream", "LOGSPOUT_STREAM"),
        ("delay", "DELAY"),
        ("DELLAY", "DELAY"),
        ("BUG", "DEBUG"),
        ("NO_EC2", "NOEC2"),
        ("filter.label", "filter.labels"),
        ("NOEC2,", "NOEC2"),
    ],
)
def test_an_unknown_option_is_told_the_nearest_known_one(written, meant):
    assert f"in the route; did you mean {meant}?" in refusal(f"cloudwatch://auto?{written}=x")


def test_the_message_about_an_unknown_option_reads_as_promised():
    assert refusal("cloudwatch://auto?LOGSPOUT_GRUOP=x") == (
        "unknown option LOGSPOUT_GRUOP in the route; did you mean LOGSPOUT_GROUP?"
    )


def test_an_option_that_is_like_none_is_told_all_that_there_are():
    assert refusal("cloudwatch://auto?retries=3") == (
        "unknown option retries in the route; there are DELAY, NOEC2, DEBUG, LOGSPOUT_GROUP,"
        " LOGSPOUT_STREAM, filter.name, filter.id, filter.labels, filter.sources"
    )


@pytest.mark.parametrize("name", ["append_tag", "structured_data"])
def test_an_option_of_logspouts_other_adapters_is_told_to_be_gone(name):
    assert refusal(f"cloudwatch://auto?{name}=x") == (
        f"{name} in the route is gone: it was for other places than CloudWatch; leave it out"
    )


def test_the_value_of_an_unknown_option_is_not_shown():
    assert "hunter2" not in refusal("cloudwatch://auto?AWS_SECRET_ACCESS_KEY=hunter2")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 100_000, "%00", "\u2028"])
def test_any_name_at_all_gets_one_short_line(name):
    assert len(refusal(f"cloudwatch://auto?{name}=x")) < 220


@pytest.mark.parametrize("name", ["TAIL", "BACKLOG", "ALLOW_TTY", "EXCLUDE_LABEL"])
def test_a_name_of_the_environment_is_sent_there(name):
    assert refusal(f"cloudwatch://auto?{name}=1") == (
        f"{name} is no option of a route; set it in the environment"
    )


@pytest.mark.parametrize("query", ["DELAY=1&DELAY=1", "NOEC2&NOEC2", "DELAY=1&DELA%59=2"])
def test_an_option_given_twice_is_refused(query):
    assert "is given twice in the route" in refusal(f"cloudwatch://auto?{query}")


@pytest.mark.parametrize(
    "name", [entry.name for entry in SETTINGS.values() if ROUTE in entry.where]
)
def test_an_option_that_needs_a_value_is_not_taken_without_one(name):
    if name in ("NOEC2", "DEBUG"):
        assert parsed(name)
    else:
        assert refusal(f"cloudwatch://auto?{name}") == refusal(f"cloudwatch://auto?{name}=+")


def test_empty_parts_between_options_do_no_harm():
    assert parsed("&DELAY=8&&NOEC2&") == parsed("DELAY=8&NOEC2")


# Values


def test_a_template_may_be_written_plainly_or_encoded():
    plain = parsed("LOGSPOUT_GROUP={{.Env.APP}}-{{.Lbl+%22a.b%22}}&LOGSPOUT_STREAM={{.Name}}")
    assert plain.group_template == '{{.Env.APP}}-{{.Lbl "a.b"}}'
    assert plain == parsed(
        "LOGSPOUT_STREAM=%7B%7B.Name%7D%7D&LOGSPOUT_GROUP=%7b%7b.Env.APP}}-{{.Lbl%20%22a.b%22}}"
    )


def test_signs_that_would_end_a_value_can_be_encoded():
    group = parsed("LOGSPOUT_GROUP=a%23b%26c%3Dd%2Ce%3Bf%2Bg%25h%24HOME=,?/:@").group_template
    assert group == "a#b&c=d,e;f+g%h$HOME=,?/:@"


@pytest.mark.parametrize("value", ["100%", "%zz", "%4"])
def test_a_percent_sign_that_encodes_nothing_is_refused(value):
    assert "write %25" in refusal(f"cloudwatch://auto?LOGSPOUT_GROUP={value}")


@pytest.mark.parametrize("value", ["%ff", "\udcff", "%ed%a0%80"])
def test_bytes_that_are_no_text_are_refused(value):
    said = "LOGSPOUT_GROUP in the route is not UTF-8"
    assert said in refusal(f"cloudwatch://auto?LOGSPOUT_GROUP={value}")
    message = refusal("cloudwatch://auto", {"LOGSPOUT_GROUP": "hunter2\udcff"})
    assert message == "LOGSPOUT_GROUP in the environment is not UTF-8 text"


def test_variables_are_filled_in_from_the_environment_and_never_parsed():
    environ = {"AWS_REGION": "eu-west-1", "STAGE": "50%+1&DELAY=9#x"}
    route = parse_route("cloudwatch://$AWS_REGION?LOGSPOUT_GROUP=${STAGE}-{{.Name}}", environ)
    assert route.region == "eu-west-1"
    assert route.group_template == "50%+1&DELAY=9#x-{{.Name}}"
    assert route.delay_s == 4.0


def test_the_variables_of_a_template_stay_its_own():
    template = "{{range $k, $v := .Labels}}{{$k}}{{end}}"
    written = template.replace(" ", "+")
    assert parsed(f"LOGSPOUT_GROUP={written}", k="no", v="no").group_template == template
    assert parsed("LOGSPOUT_GROUP=%7B%7B$k%7D%7D", k="no").group_template == "{{$k}}"


def test_a_variable_that_is_not_set_is_refused():
    message = refusal("cloudwatch://auto?LOGSPOUT_GROUP=${STAGE}")
    assert message == ("$STAGE in the route is not set; set it, or write %24 for a plain $")


@pytest.mark.parametrize("route", ["cloudwatch://$SECRET", "cloudwatch://auto?DELAY=$SECRET"])
@pytest.mark.parametrize("secret", ["hunter2", "\udcff"])
def test_a_filled_in_value_is_not_shown_in_an_error(route, secret):
    message = refusal(route, {"SECRET": secret})
    assert secret not in message


# Precedence


def test_for_names_the_route_beats_the_environment_of_the_agent():
    environ = {"LOGSPOUT_GROUP": "of-agent", "LOGSPOUT_STREAM": "of-agent"}
    route = parsed("LOGSPOUT_GROUP=of-route", **environ)
    assert route.group_template == "of-route"
    assert route.stream_template == "of-agent"


def test_for_delay_the_environment_beats_the_route():
    assert parsed("DELAY=8", DELAY="2").delay_s == 2
    assert parsed("DELAY=8").delay_s == 8
    assert parsed(DELAY="2").delay_s == 2


def test_a_value_that_is_overridden_is_checked_all_the_same():
    assert "'8s' in the route" in refusal("cloudwatch://auto?DELAY=8s", {"DELAY": "2"})


# Numbers and words


@pytest.mark.parametrize(
    ("text", "delay_s"), [("4", 4), ("0.5", 0.5), (".25", 0.25), (" 8 ", 8), ("3600", 3600)]
)
def test_a_delay_is_seconds_whole_or_decimal(text, delay_s):
    assert parse_delay_s(text, "in --delay") == delay_s
    assert parsed(DELAY=text).delay_s == delay_s


@pytest.mark.parametrize(
    "text", ["0", "-1", "4s", "1e3", "nan", "inf", "3600.1", "1" * 400, "٤", "4,5", "0.0", "1_0"]
)
def test_a_delay_out_of_bounds_is_refused_with_its_value_and_place(text):
    in_environment = refusal("cloudwatch://auto", {"DELAY": text})
    assert f"DELAY '{text[:30]}" in in_environment
    assert "in the environment" in in_environment
    assert "in the route" in refusal(f"cloudwatch://auto?DELAY={text}")
    with pytest.raises(RouteError, match="in --delay is no number"):
        parse_delay_s(text, "in --delay")


@pytest.mark.parametrize(("text", "tail"), [("all", None), ("ALL", None), ("0", 0), ("100", 100)])
def test_tail_is_all_or_a_number_of_lines(text, tail):
    assert parsed(TAIL=text).tail == tail


@pytest.mark.parametrize("text", ["-1", "ten", "1.5", "1" * 10])
def test_any_other_tail_is_refused(text):
    assert f"TAIL in the environment is '{text}'" in refusal("cloudwatch://auto", {"TAIL": text})


@pytest.mark.parametrize(("text", "truth"), [("true", True), ("1", True), ("False", False)])
def test_backlog_and_terminals_are_true_or_false(text, truth):
    assert parsed(BACKLOG=text).backlog is truth
    assert parsed(ALLOW_TTY=text).allow_tty is truth


def test_a_misspelt_false_does_not_ship_the_backlog():
    message = refusal("cloudwatch://auto", {"BACKLOG": "fasle"})
    assert message == "BACKLOG in the environment is 'fasle'; write true or false"


# Filters


def test_filters_are_read_as_logspout_writes_them():
    route = parsed(
        "filter.name=*_db&filter.id=3b6ba57db54a"
        "&filter.sources=stdout%2Cstderr&filter.labels=a:x*%2Cb:*y"
    )
    assert route.filter_name == "*_db"
    assert route.filter_id == "3b6ba57db54a"
    assert route.filter_sources == ("stdout", "stderr")
    assert route.filter_labels == ("a:x*", "b:*y")


def test_the_comma_of_a_list_need_not_be_encoded():
    assert parsed("filter.sources=stdout,stderr").filter_sources == ("stdout", "stderr")


@pytest.mark.parametrize(
    "option",
    [
        "filter.sources=stdin",
        "filter.sources=,",
        "filter.labels=app",
        "filter.labels=a:b,c",
        "filter.labels=:x",
        "filter.id=my_db",
        "filter.id=3B6B",
    ],
)
def test_a_filter_that_would_take_all_or_nothing_by_mistake_is_refused(option):
    assert option.partition("=")[0] in refusal(f"cloudwatch://auto?{option}")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("logspout.exclude", (("logspout.exclude", "true"),)),
        ("app:web", (("app", "web"),)),
        ("k8s:app;backend:rails", (("k8s", "app"), ("backend", "rails"))),
        ("a; b:c ;", (("a", "true"), ("b", "c"))),
        ("image:registry:5000", (("image", "registry:5000"),)),
        ("empty:", (("empty", ""),)),
    ],
)
def test_labels_to_exclude_have_a_value_or_mean_true(text, labels):
    assert parsed(EXCLUDE_LABEL=text).exclude_labels == labels
    assert parsed(EXCLUDE_LABELS=text, EXCLUDE_LABEL="other").exclude_labels == labels


def test_a_value_to_exclude_without_its_label_is_refused_and_not_shown():
    message = refusal("cloudwatch://auto", {"EXCLUDE_LABELS": "a:b;:hunter2"})
    assert message.startswith("EXCLUDE_LABELS in the environment has an entry without a label")
    assert "hunter2" not in message


# What always holds


@given(
    st.one_of(
        st.text(),
        st.text(st.characters()).map(lambda text: f"cloudwatch://{text}"),
        st.text(alphabet="%&=;?#$+,{}()zADELYNOC2.\udcff\u2028\n ").map(
            lambda text: f"cloudwatch://auto?{text}"
        ),
    ),
    st.dictionaries(st.sampled_from([*SETTINGS, "A", "z"]), st.text(st.characters())),
)
@example("cloudwatch://auto?\ud800", {})
@example("cloudwatch://$A", {"A": "\ud800"})
def test_any_text_either_is_a_route_or_is_refused_in_one_line(text, environ):
    route, message = outcome(text, environ)
    if route is None:
        assert message.isprintable()
        assert len(message) < 400
    else:
        assert route.region is None or is_region(route.region)
        assert 0 < route.delay_s <= MAX_DELAY_S
        assert route.group_template.encode()
        assert route.stream_template.encode()


@given(st.text(min_size=1).filter(str.strip))
def test_any_text_can_be_written_as_a_template(template):
    written = "".join(f"%{byte:02x}" for byte in template.encode())
    assert parsed(f"LOGSPOUT_GROUP={written}").group_template == template


def test_the_table_of_settings_tells_the_defaults_the_route_has():
    entries = SETTINGS.values()
    told = {
        entry.name: entry.default for entry in entries if entry.default and AGENT in entry.where
    }
    assert parse_route("cloudwatch://", told) == Route()
    options = "&".join(
        f"{entry.name}={entry.default}"
        for entry in entries
        if entry.default and ROUTE in entry.where
    )
    written = parse_route(f"cloudwatch://?{options}", {})
    assert dataclasses.replace(written, filter_sources=()) == Route()


def test_the_table_of_settings_names_each_place_that_is_read():
    assert SETTINGS["DELAY"].where == (ROUTE, AGENT)
    assert SETTINGS["LOGSPOUT_GROUP"].where == (AGENT, ROUTE, CONTAINER)
    assert all(entry.meaning and name == entry.name for name, entry in SETTINGS.items())


def test_a_bad_route_is_one_of_the_packages_errors():
    assert issubclass(RouteError, ShipperError)
