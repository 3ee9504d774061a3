"""
Templates, against what Go 1.19 printed for the same text and context.
"""

import json
import sys
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.gotemplate import Context, TemplateError, parse
from shipper.gotemplate.limits import DEPTH_MAX, OUTPUT_MAX_CHARS, TEMPLATE_MAX_CHARS

CORPUS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "go-templates.json").read_text(encoding="utf-8")
)
PRINTED = [case for case in CORPUS if "output" in case]
REFUSED = [case for case in CORPUS if "error" in case and not case.get("hostile")]
HOSTILE = [case for case in CORPUS if case.get("hostile")]

# All cases of the corpus are done. What is not, with the reason, is an error and not another text.
NOT_SUPPORTED = {
    '{{printf "%x" 1.5}}': "a float in hexadecimal is no part of a name",
    '{{printf "%b" 1.5}}': "nor is its mantissa",
    '{{printf "%#g" 1.5}}': "# keeps zeros, by rules of its own",
    '{{printf "%x" 2i}}': "as for floats",
    '{{printf "%p" .Labels}}': "there are no addresses",
    '{{printf "%p" .}}': "there are no addresses",
}

# More of what Go 1.19 printed for WEB.
ALSO_PRINTED = {
    "{{range .Env}}{{if eq . `1`}}{{continue}}{{end}}{{.}}{{end}}": "23",
    "{{range $k, $v := .Env}}{{if eq $k `B`}}{{break}}{{end}}{{$k}}{{$v}} {{end}}": "A1 ",
    "{{range .Env}}{{range $.Labels.x}}{{else}}{{break}}{{end}}.{{end}}": "...",
    "{{$x := 1}}{{range $x = .Env}}{{$x}}{{end}}{{$x}}": "1233",
    '{{printf "%[2]*[1]d|%-5d|%05d|%+d" 7 4 8 9}}': "   7|4    |00008|+9",
    '{{printf "%[2]d %[1]d" 1 2}}': "2 1",
    '{{printf "%[5]d" 1}}': "%!d(BADINDEX)",
    '{{printf "%*d" "a" 1}}': "%!(BADWIDTH)1",
    '{{printf "%"}}': "%!(NOVERB)",
    '{{printf "%5t|%q|%U|%c|%#o" true 97 97 97 8}}': " true|'a'|U+0061|a|010",
    '{{printf "%#v" .}}': '&cloudwatch.RenderContext{Host:"", Env:map[string]string{"A":"1", '
    '"B":"2", "C":"3"}, Labels:map[string]string(nil), Name:"wéb", ID:"", LoggerHost:"", '
    'InstanceID:"", Region:""}',
    '{{printf "%T %T %T" . .Labels (index .Name 0)}}': "*cloudwatch.RenderContext "
    "map[string]string uint8",
    "{{index .Name 1}} {{eq (index .Name 0) 119}}": "195 true",
    "{{eq .Labels nil}} {{eq .Env nil}} {{eq . .}}": "true false true",
    "{{-0x1e}} {{017}} {{1+2i}} {{123456789.0}}": "-30 15 (1+2i) 1.23456789e+08",
    "{{print 1 |}}": "1",
    "{{.Env.X.y 1 2}}": "<no value>",
}

WEB = Context(env={"B": "2", "A": "1", "C": "3"}, name="wéb")

LONG = Context(
    name="n",
    env={"L": "<" * 120_000, "U": "日" * 60_000, "P": "日%[" * 40_000, "Q": "\u200b" * 60_000}
    | {f"k{number}": "v" for number in range(5_000)},
)

MORE_HOSTILE = {
    "parentheses that never close": "{{" + "(" * 16_000,
    "a number of 16,000 digits": "{{" + "9" * 16_000 + "}}",
    "a hexadecimal number of 16,000 digits": "{{0x" + "f" * 16_000 + "}}",
    "digits and underscores": "{{" + "1_" * 8_000 + "}}",
    "a string that never ends": '{{"' + "\\a" * 8_000,
    "a character constant that never ends": "{{'" + "\\'" * 8_000,
    "actions that never close": "{{" * 8_000,
    "comments that never end": "{{/*" * 4_000,
    "spaces that end nothing": "{{1 " + " " * 16_000,
    "a chain of 8,000 fields": "{{" + ".a" * 8_000 + "}}",
    "variables, looked for from the far end": "".join(f"{{{{$a{n} := 1}}}}" for n in range(600))
    + "{{$a0}}" * 900,
    "a width from the format": '{{printf "%9999999T" 1}}',
    "a width from an argument": '{{printf "%*d" 1000000 1}}',
    "a precision": '{{printf "%.9999999U" 1}}',
    "a precision of a float": '{{printf "%.999999f" 1.5e300}}',
    "a format of 80,000 broken verbs": "{{len (printf .Env.P 1)}}",
    "an argument printed 4,000 times": '{{len (printf "' + "%[1]s" * 3_200 + '" .Env.L)}}',
    "a value that grows when escaped": "{{$x := js .Env.L}}{{$x = js $x}}{{$x = js $x}}",
    "a value that grows when quoted": '{{len (printf "%q" .Env.Q)}}',
    "maps sorted again and again": "{{range .Env}}{{break}}{{end}}" * 500,
    "a whole map as text": "{{.Env}}",
    "much work that prints nothing": "{{range .Env}}{{range $.Env}}{{end}}{{end}}",
    "a template that calls itself twice": '{{define "r"}}{{template "r"}}{{template "r"}}{{end}}'
    '{{template "r"}}',
    "a template that nests as it calls itself": '{{define "r"}}{{if 1}}{{with (print (print 1))}}'
    '{{template "r"}}{{end}}{{end}}{{end}}{{template "r"}}',
    "variables of a range that has none": "{{range $, $ = .Env}}{{end}}",
}

# Calls of Python and C functions; the worst of these templates takes a tenth of a second.
CALLS_MAX = 600_000
MEMORY_MAX_BYTES = 16 * 2**20


def context_of(case: dict[str, Any]) -> Context:
    given_context = case["context"]
    return Context(
        host=given_context["Host"],
        env=given_context["Env"],
        labels=given_context["Labels"],
        name=given_context["Name"],
        id=given_context["ID"],
        logger_host=given_context["LoggerHost"],
        instance_id=given_context["InstanceID"],
        region=given_context["Region"],
    )


def render(template: str, context: Context) -> str:
    return parse(template).render(context)


def outcome(template: str, context: Context) -> str:
    """
    The text, or which error it was.
    """
    try:
        return render(template, context)
    except TemplateError as error:
        return error.kind


def count_calls(run: Callable[[], object]) -> int:
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(before)
    return calls


def peak_bytes(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def name_of(case: dict[str, Any]) -> str:
    return str(case["name"])


def check_that_it_is_cheap(template: str, context: Context) -> None:
    assert count_calls(lambda: outcome(template, context)) < CALLS_MAX
    assert peak_bytes(lambda: outcome(template, context)) < MEMORY_MAX_BYTES


# what Go prints


@pytest.mark.parametrize("case", PRINTED, ids=name_of)
def test_a_template_prints_what_go_prints(case: dict[str, Any]) -> None:
    assert render(case["template"], context_of(case)) == case["output"]


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_what_go_refuses_is_refused_at_the_same_stage(case: dict[str, Any]) -> None:
    if case["error"] == "parse":
        with pytest.raises(TemplateError) as refusal:
            parse(case["template"])
    else:
        template = parse(case["template"])
        with pytest.raises(TemplateError) as refusal:
            template.render(context_of(case))
    assert refusal.value.kind == case["error"]


@pytest.mark.parametrize("template", ALSO_PRINTED)
def test_quirks_of_go_are_kept(template: str) -> None:
    assert render(template, WEB) == ALSO_PRINTED[template]


@pytest.mark.parametrize("template", NOT_SUPPORTED)
def test_what_is_not_supported_is_an_error_and_not_another_text(template: str) -> None:
    with pytest.raises(TemplateError, match="not supported") as refusal:
        render(template, WEB)
    assert refusal.value.kind == "exec"


# values


def test_a_lazy_value_is_not_asked_for_until_the_template_reaches_it() -> None:
    def never() -> str:
        raise AssertionError

    lazy = Context(name="web", instance_id=never, region=never)
    assert render("{{.Name}}{{or .Name .Region}}{{if not .Name}}{{.InstanceID}}{{end}}", lazy) == (
        "webweb"
    )


def test_a_lazy_value_is_asked_for_once_in_a_rendering() -> None:
    asked: list[str] = []

    def region() -> str:
        asked.append("region")
        return "eu-west-1"

    template = parse("{{.Region}}{{range .Env}}{{$.Region}}{{end}}{{.}}")
    assert template.render(Context(env={"A": "1", "B": "2"}, region=region)).count("eu-west-1") == 4
    assert asked == ["region"]


def test_a_value_is_never_rendered_again() -> None:
    context = Context(name="{{.Host}}", env={"X": "{{.Env.X}}"}, region=lambda: "{{.Name}}")
    assert render("{{.Name}}{{.Env.X}}{{.Region}}", context) == "{{.Host}}{{.Env.X}}{{.Name}}"


@pytest.mark.parametrize(
    "template",
    ["{{.__class__}}", "{{.name}}", "{{.get}}", "{{.methods}}", "{{.Name.upper}}", "{{(.Lbl).x}}"],
)
def test_nothing_of_python_is_reached_by_name(template: str) -> None:
    assert outcome(template, WEB) == "exec"


@pytest.mark.parametrize("template", ["{{.Env.keys}}", "{{.Env.__class__}}", "{{.Labels.items}}"])
def test_a_method_of_a_python_map_is_a_missing_key(template: str) -> None:
    assert render(template, WEB) == "<no value>"


def test_a_cut_rune_becomes_a_replacement_character() -> None:
    assert render("{{slice .Name 0 2}}-{{slice .Name 2}}", WEB) == "w\ufffd-\ufffdb"


def test_the_halves_of_a_cut_rune_may_meet_again() -> None:
    assert render("{{print (slice .Name 0 2) (slice .Name 2)}}", WEB) == "wéb"
    assert render("{{slice .Name 0 2}}{{slice .Name 2}}", WEB) == "wéb"


def test_a_surrogate_that_is_no_character_does_not_leave() -> None:
    context = Context(name="a\ud800b", env={"\udfff": "\udbff"})
    text = render("{{.Name}}{{.Env}}{{js .Name}}{{urlquery .Name}}{{len .Name}}", context)
    assert text.encode()
    assert text.startswith("a\ufffdb")


def test_one_template_renders_for_many_containers_at_once() -> None:
    template = parse("{{$x := .Name}}{{range .Env}}{{$x}}{{end}}")
    contexts = [Context(name=str(n), env={"A": "", "B": ""}) for n in range(200)]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(template.render, contexts)) == [f"{n}{n}" for n in range(200)]


# bounds


@pytest.mark.parametrize("case", HOSTILE, ids=name_of)
def test_a_hostile_template_fails_or_prints_what_go_prints(case: dict[str, Any]) -> None:
    go_output = case["go"].get("output")
    assert outcome(case["template"], context_of(case)) in ("parse", "exec", go_output)
    check_that_it_is_cheap(case["template"], context_of(case))


@pytest.mark.parametrize("name", MORE_HOSTILE)
def test_no_template_costs_much(name: str) -> None:
    assert outcome(MORE_HOSTILE[name], LONG) in ("parse", "exec")
    check_that_it_is_cheap(MORE_HOSTILE[name], LONG)


def test_a_template_may_be_as_long_as_the_bound_and_no_longer() -> None:
    assert render("a" * TEMPLATE_MAX_CHARS, WEB) == "a" * TEMPLATE_MAX_CHARS
    with pytest.raises(TemplateError, match="longer than"):
        parse("a" * (TEMPLATE_MAX_CHARS + 1))


def test_an_output_may_be_as_long_as_the_bound_and_no_longer() -> None:
    template = parse("{{.Name}}{{.Name}}")
    assert len(template.render(Context(name="n" * (OUTPUT_MAX_CHARS // 2)))) == OUTPUT_MAX_CHARS
    with pytest.raises(TemplateError, match="characters of output"):
        template.render(Context(name="n" * (OUTPUT_MAX_CHARS // 2 + 1)))


@pytest.mark.parametrize(
    ("opening", "closing"), [("{{if 1}}", "{{end}}"), ("{{with 1}}", "{{end}}")]
)
def test_blocks_may_be_as_deep_as_the_bound_and_no_deeper(opening: str, closing: str) -> None:
    # the innermost {{if}} has its pipeline
    assert render(opening * (DEPTH_MAX - 1) + closing * (DEPTH_MAX - 1), WEB) == ""
    with pytest.raises(TemplateError, match="levels deep"):
        parse(opening * (DEPTH_MAX + 1) + closing * (DEPTH_MAX + 1))


@pytest.mark.parametrize("opening", ["(", "(print ", "(1 | print ", "(or 0 ", "(index .Env "])
def test_parentheses_deeper_than_the_bound_are_an_error(opening: str) -> None:
    def nested(levels: int) -> str:
        return "{{" + opening * levels + "`A`" + ")" * levels + "}}"

    assert outcome(nested(DEPTH_MAX - 2), WEB) != "parse"
    assert outcome(nested(DEPTH_MAX), WEB) == "parse"


def test_a_full_stack_is_an_error_like_any_other() -> None:
    template = parse("{{" + "(" * 60 + "1" + ")" * 60 + "}}")

    def deep(levels: int, run: Callable[[], object]) -> object:
        return run() if levels == 0 else deep(levels - 1, run)

    def depth_left() -> int:
        frame, depth = sys._getframe(), 0
        while (outer := frame.f_back) is not None:
            frame, depth = outer, depth + 1
        return sys.getrecursionlimit() - depth

    levels = depth_left() - 60
    with pytest.raises(TemplateError, match="stack is full"):
        deep(levels, lambda: template.render(WEB))
    with pytest.raises(TemplateError, match="stack is full"):
        deep(levels, lambda: parse("{{" + "(" * 60 + "1" + ")" * 60 + "}}"))


# properties

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)
GRAMMAR = """
    {{ }} {{- -}} {{end}} {{else}} {{if {{range {{with {{break}} {{template"a"}} {{define "a"}}
    | ( ) $x := = $ . .Env .Name "a" 'a' ` " 1 -1.5e3 0x 2i nil true /* */ é \\
    printf "%d%v%[2]*q" index slice len eq lt html js .Lbl
"""
PIECES = st.lists(st.sampled_from(GRAMMAR.split()) | st.text(max_size=3), max_size=40)
MIXTURE = PIECES.map(" ".join) | PIECES.map("".join)


@given(ANY_TEXT | MIXTURE)
@settings(max_examples=500)
def test_any_text_renders_or_is_a_template_error(text: str) -> None:
    assert isinstance(outcome(text, WEB), str)


@given(MIXTURE)
@settings(max_examples=50)
def test_any_text_costs_little(text: str) -> None:
    assert count_calls(lambda: outcome(text, WEB)) < CALLS_MAX


@given(st.text(max_size=500).filter(lambda text: "{{" not in text))
def test_a_text_without_actions_renders_as_itself(text: str) -> None:
    assert render(text, WEB) == text


@given(st.text(max_size=50), st.text(max_size=50))
def test_a_value_comes_out_as_it_went_in(key: str, value: str) -> None:
    context = Context(name=key, labels={key: value})
    assert render("{{.Lbl .Name}}", context) == value
    assert render("{{index .Labels .Name}}", context) == value
    assert render("{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", context) == key + value


@given(st.text(max_size=50))
def test_lengths_and_places_are_bytes(value: str) -> None:
    size = len(value.encode())
    assert render("{{len .Name}}", Context(name=value)) == str(size)
    whole = f"{{{{slice .Name 0 {size // 2}}}}}{{{{slice .Name {size // 2}}}}}"
    assert render(whole, Context(name=value)) == value
