"""Texts that a model could write to do harm in a browser."""

from __future__ import annotations

HOSTILE = {
    "script tags": "<script>alert(1)</script> and <ScRiPt src=//evil>alert(2)</sCrIpT>",
    "event handlers": '<img src=x onerror="alert(1)"><svg onload=alert(2)><body onpageshow=alert(3)>',
    "addresses that are code": "[click](javascript:alert(1)) <javascript:alert(2)> ![x](data:text/html,alert(3))",
    "hidden addresses": "[a](java\tscript:alert(1)) [b](JaVaScRiPt:alert(2)) [c](vbscript:alert(3)) [d](//evil)",
    "broken Markdown": "```js\nalert(1)\n\n" + "**_~~[`" * 300 + "\n" + ">" * 400 + "\n" + "- " * 300 + "\n|a|\n|-|-|",
    "markup in code": "`<img src=x onerror=alert(1)>`\n\n```html\n<script>alert(2)</script>\n```",
    "calls and reasoning": "<think><script>alert(1)</script></think><tool_call>{'<img onerror=alert(2)>'}</tool_call>",
    "direction controls": "\u202etxt.exe\u202c and \u2066isolated\u2069 `\u202eedoc`",
    "a very long line": "a<b>" * 25_000,
}
