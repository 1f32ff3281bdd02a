# ruff: noqa: RUF001 - DeepSeek's markup has full-width bars
"""Small chat templates in the styles of published models, each as its model writes reasoning and calls."""

from __future__ import annotations

from dataclasses import dataclass

_LAYOUT = """\
{%- if tools %}<|system|>{% for tool in tools %}{{ tool | tojson }}
{% endfor %}<|end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'assistant' %}{{ '@HEADER' }}@REASONING{{ m.content or '' }}@CALLS{{ '@END' }}
{%- else %}<|{{ m.role }}|>{{ m.content }}<|end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '@HEADER' }}@OPENING{% endif %}"""

_EACH = "{% for c in m.tool_calls or [] %}{% set f = c.function %}"
_LINE = "{{ '\\n' if m.content and m.tool_calls }}"
_JSON = "{{ f.arguments | tojson }}"
_PYTHON = (
    "{{ f.name }}({% for k, v in f.arguments.items() %}{{ k }}={{ v | tojson if v is string else v }}"
    "{{ ', ' if not loop.last }}{% endfor %})"
)
_ITEMS = "{% for k, v in f.arguments.items() %}"
_VALUE = "{{ v if v is string else v | tojson }}"


@dataclass(frozen=True, slots=True)
class Style:
    """The parts of a template: what stands for the calls of a message `m`, its reasoning, and around its turn."""

    calls: str
    reasoning: str = ""
    opening: str = ""
    header: str = "<|assistant|>"
    end: str = "<|end|>\n"

    @property
    def template(self) -> str:
        template, end = _LAYOUT, self.end.replace("\n", "\\n")
        parts = {"@HEADER": self.header, "@REASONING": self.reasoning, "@CALLS": self.calls, "@END": end}
        for name, text in (parts | {"@OPENING": self.opening}).items():
            template = template.replace(name, text)
        return template


def _listed(begin: str, item: str, end: str, separator: str = ", ") -> str:
    """Calls in one enclosing markup, which is only there if there are calls."""
    joined = f"{{{{ '{separator}' if not loop.last }}}}"
    return (
        f"{{% if m.tool_calls %}}{{{{ '{begin}' }}}}{_EACH}{item}{joined}{{% endfor %}}{{{{ '{end}' }}}}{{% endif %}}"
    )


_OBJECT = '{"name": "{{ f.name }}", "arguments": ' + _JSON + "}"
_PARAMETERS = '{"name": "{{ f.name }}", "parameters": ' + _JSON + "}"
_THINK = "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"

HARMONY = """\
{%- if tools %}<|start|>developer<|message|>{{ tools | tojson }}<|end|>{% endif %}
{%- for m in messages %}{% if m.role == 'assistant' %}
{%- if m.reasoning_content %}<|start|>assistant<|channel|>analysis<|message|>{{ m.reasoning_content }}<|end|>{% endif %}
{%- if m.content and m.tool_calls %}<|start|>assistant<|channel|>commentary<|message|>{{ m.content }}<|end|>
{%- elif m.content %}<|start|>assistant<|channel|>final<|message|>{{ m.content }}<|return|>{% endif %}
{%- for c in m.tool_calls or [] %}<|start|>assistant<|channel|>commentary to=functions.{{ c.function.name }} \
<|constrain|>json<|message|>{{ c.function.arguments | tojson }}<|call|>{% endfor %}
{%- else %}<|start|>{{ m.role }}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}
{%- if add_generation_prompt %}<|start|>assistant{% endif %}"""

_STYLES = {
    "hermes": Style(_EACH + "{{ '\\n' }}<tool_call>\n" + _OBJECT + "\n</tool_call>{% endfor %}", _THINK),
    "hermes with thinking opened": Style(
        _EACH + "{{ '\\n' }}<tool_call>\n" + _OBJECT + "\n</tool_call>{% endfor %}",
        _THINK,
        opening="{% if enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}",
    ),
    "granite, a list": Style(_listed("<|tool_call|>[", _OBJECT, "]")),
    "granite, with its response": Style(
        _EACH + "<tool_call>" + _OBJECT + "</tool_call>{% endfor %}",
        "{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>\n<response>{% endif %}",
        end="</response><|end_of_text|>\n",
    ),
    "mistral, a list": Style(
        _listed("[TOOL_CALLS] [", _OBJECT[:-1] + ', "id": "{{ c.id }}"}', "]"), header="[/INST]", end="</s>"
    ),
    "mistral, arguments": Style(
        _EACH + "[TOOL_CALLS]{{ f.name }}[ARGS]" + _JSON + "{% endfor %}",
        "{% if m.reasoning_content %}[THINK]{{ m.reasoning_content }}[/THINK]{% endif %}",
        header="[/INST]",
        end="</s>",
    ),
    "mistral, ids": Style(
        _EACH + "[TOOL_CALLS]{{ f.name }}[CALL_ID]{{ c.id }}[ARGS]" + _JSON + "{% endfor %}",
        header="[/INST]",
        end="</s>",
    ),
    "llama, bare JSON": Style(
        _LINE + _EACH + _PARAMETERS + "{{ '; ' if not loop.last }}{% endfor %}", end="<|eot_id|>"
    ),
    "llama, one call": Style(
        "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
        + _LINE
        + _EACH
        + _PARAMETERS
        + "{% endfor %}",
        end="<|eot_id|>",
    ),
    "llama, python": Style(_listed("<|python_start|>[", _PYTHON, "]<|python_end|>"), end="<|eot|>"),
    "bare python": Style(_LINE + _listed("[", _PYTHON, "]"), end="<|eot_id|>"),
    "lfm": Style(_listed("<|tool_call_start|>[", _PYTHON, "]<|tool_call_end|>"), end="<|im_end|>\n"),
    "olmo": Style(_listed("<function_calls>\\n", _PYTHON, "\\n</function_calls>", "\\n"), _THINK),
    "deepseek, with json fences": Style(
        _listed(
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ f.name }}\n```json\n" + _JSON + "\n```<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
            "\\n",
        ),
        _THINK,
        header="<｜Assistant｜>",
        end="<｜end▁of▁sentence｜>",
    ),
    "deepseek": Style(
        _listed(
            "<｜tool▁calls▁begin｜>",
            "<｜tool▁call▁begin｜>{{ f.name }}<｜tool▁sep｜>" + _JSON + "<｜tool▁call▁end｜>",
            "<｜tool▁calls▁end｜>",
            "",
        ),
        "{{ '</think>' if not m.reasoning_content else '<think>' + m.reasoning_content + '</think>' }}",
        opening="{{ '<think>' if enable_thinking else '</think>' }}",
        header="<｜Assistant｜>",
        end="<｜end▁of▁sentence｜>",
    ),
    "kimi": Style(
        _listed(
            "<|tool_calls_section_begin|>",
            "<|tool_call_begin|>functions.{{ f.name }}:{{ loop.index0 }}<|tool_call_argument_begin|>"
            + _JSON
            + "<|tool_call_end|>",
            "<|tool_calls_section_end|>",
            "",
        ),
        header="<|im_assistant|>assistant<|im_middle|>",
        end="<|im_end|>",
    ),
    "qwen-coder": Style(
        _EACH
        + "{{ '\\n' }}<tool_call>\n<function={{ f.name }}>\n"
        + _ITEMS
        + "<parameter={{ k }}>\n"
        + _VALUE
        + "\n</parameter>\n{% endfor %}</function>\n</tool_call>{% endfor %}",
        _THINK,
    ),
    "seed": Style(
        _EACH + "{{ '\\n' }}<seed:tool_call>\n<function={{ f.name }}>\n" + _ITEMS + "<parameter={{ k }}>"
        "{{ v if v is string else v | string }}</parameter>\n{% endfor %}</function>\n</seed:tool_call>{% endfor %}",
        "{% if m.reasoning_content %}<seed:think>{{ m.reasoning_content }}</seed:think>\n{% endif %}",
        header="<seed:bos>assistant\\n",
        end="<seed:eos>",
    ),
    "minimax": Style(
        _listed(
            "<minimax:tool_call>\\n",
            '<invoke name="{{ f.name }}">\n'
            + _ITEMS
            + '<parameter name="{{ k }}">'
            + _VALUE
            + "</parameter>\n{% endfor %}</invoke>",
            "\\n</minimax:tool_call>",
            "\\n",
        ),
        _THINK,
        opening="<think>\n",
        header="]~b]ai\\n",
        end="[e~[\n",
    ),
    "glm": Style(
        _EACH
        + "{{ '\\n' }}<tool_call>{{ f.name }}\n"
        + _ITEMS
        + "<arg_key>{{ k }}</arg_key>\n<arg_value>"
        + _VALUE
        + "</arg_value>\n{% endfor %}</tool_call>{% endfor %}",
        "\n<think>{{ m.reasoning_content or '' }}</think>\n",
    ),
    "apertus": Style(
        _listed("<|tools_prefix|>[", '{"{{ f.name }}": ' + _JSON + "}", "]<|tools_suffix|>"),
        "{% if m.reasoning_content %}<|inner_prefix|>{{ m.reasoning_content }}<|inner_suffix|>{% endif %}",
        header="<|assistant_start|>",
        end="<|assistant_end|>",
    ),
    "phi": Style(_listed("<|tool_call|>[", _OBJECT, "]<|/tool_call|>")),
    "command": Style(
        _listed(
            "<|START_ACTION|>[\\n    ",
            '{"tool_call_id": "{{ loop.index0 }}", "tool_name": "{{ f.name }}", "parameters": ' + _JSON + "}",
            "\\n]<|END_ACTION|>",
            ",\\n    ",
        ),
        "{% if m.reasoning_content %}<|START_THINKING|>{{ m.reasoning_content }}<|END_THINKING|>{% endif %}",
        end="<|END_OF_TURN_TOKEN|>",
    ),
    "nemotron": Style(_listed("<TOOLCALL>[", _OBJECT, "]</TOOLCALL>"), _THINK),
    "internlm": Style(_EACH + "<|action_start|><|plugin|>\n" + _PARAMETERS + "<|action_end|>{% endfor %}"),
    "functionary": Style(_EACH + "<function={{ f.name }}>" + _JSON + "</function>{% endfor %}", end="<|eom_id|>"),
    "typed calls": Style(_EACH + "<tool_call>{{ c | tojson }}</tool_call>{% endfor %}"),
}

TEMPLATES = {name: style.template for name, style in _STYLES.items()} | {"harmony": HARMONY}
