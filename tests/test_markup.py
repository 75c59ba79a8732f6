"""Markup is escaped unless it was made as markup."""

from __future__ import annotations

from hybridfit.markup import Html, element, file_name, joined, table, text

NASTY = "<script>alert('1')</script>&\"\udcff\x00\x1b"


def test_text_is_escaped_once():
    once = text(NASTY)
    assert "<" not in once and '"' not in once and "\\udcff" in once and "\x00" not in once
    assert text(once) is once
    once.encode("utf-8")


def test_children_and_attributes_are_escaped():
    made = element("a", NASTY, element("b", "x"), href='"onload="', class_="y", id=None)
    assert made.count("<") == 4 and 'href="&quot;onload=&quot;"' in made and 'class="y"' in made
    assert "id=" not in made and "<b>x</b>" in made
    assert element("meta", http_equiv="a") == '<meta http-equiv="a">'


def test_tables_and_joins():
    made = table(("", "<"), [("a", "&"), (Html("<i>b</i>"), 1)])
    assert made.count("<tr>") == 3 and "&amp;" in made and "<i>b</i>" in made and "&lt;" in made
    assert "thead" not in table((), [("a", "b")])
    assert joined(["<", Html("<br>")], ", ") == "&lt;, <br>"
    assert file_name("<x>") == '<bdi class="file">&lt;x&gt;</bdi>'
