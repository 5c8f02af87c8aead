#!/usr/bin/env python3
"""Renders every template of operations.json with Jinja2 and writes what came out as the expected result.

    pip install jinja2==3.1.6 && python operations.py

The environment is the one transformers sets up for chat templates. The templates are expressions over all operators,
filters, tests, methods and formats, snippets of all tags, and random tags with all kinds of white space around them.
Left out, because the renderer differs on purpose: complex numbers, bytes, memory addresses, the names of characters,
and what Jinja folds at compile time (a slice of a literal that has none is undefined there, elsewhere an error).
"""
import datetime
import json
import os

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "operations.json")


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment(now):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = now.strftime
    return env


def main():
    with open(FILE) as f:
        data = json.load(f)
    env = environment(datetime.datetime.fromisoformat(data["now"]))
    for template in data["templates"]:
        for case in template["cases"]:
            for key in ("expected", "error", "error_type"):
                case.pop(key, None)
            variables = {"messages": case["messages"], "tools": None, "documents": None,
                         "add_generation_prompt": case["add_generation_prompt"], **case["extra"]}
            try:
                case["expected"] = env.from_string(template["template_text"]).render(**variables)
            except Exception as e:  # every failure is a result here
                case["error"], case["error_type"] = str(e), type(e).__name__
    head = json.dumps({"now": data["now"], "jinja2": jinja2.__version__})[:-1]
    with open(FILE, "w") as f:
        f.write(head + ', "templates": [\n' + ",\n".join(json.dumps(t) for t in data["templates"]) + "\n]}\n")


if __name__ == "__main__":
    main()
