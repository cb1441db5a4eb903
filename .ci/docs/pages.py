"""Adds pages to the site: files of the repository that lie outside examples/, and the API reference.

MkDocs calls the functions below (``hooks`` in mkdocs.yml). Nothing is imported or run: the reference is
read from the source by griffe.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGES = ("redteam_env", "agents", "algorithms")
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/CODE_OF_CONDUCT.md": "code_of_conduct.md",
    ".github/SECURITY.md": "security.md",
}
GUIDE = "guide/README.md"
"""The page that lists the guide's pages, in the order in which they are read."""
LINK = re.compile(
    r"(?P<image>!?)\[(?P<words>[^\]\[]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)"
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation from the files that there are."""
    docs = Path(config.docs_dir)

    listed = re.findall(
        r"^\| \[(\w+)\.md\]", (docs / GUIDE).read_text(encoding="utf-8"), re.MULTILINE
    )
    order = {name: place for place, name in enumerate(["README", *listed])}

    def pages(pattern: str) -> list[str]:
        last = len(order)
        found = sorted(docs.glob(pattern), key=lambda x: (order.get(x.stem, last), x.as_posix()))
        return [path.relative_to(docs).as_posix() for path in found]

    reference = ["reference/index.md", *(f"reference/{name}.md" for name in public_modules())]
    config.nav = [
        {"Start": "index.md"},
        {"Guide": [*pages("guide/*.md"), "many_gpus.md", "papers.md"]},
        {"Tutorials": pages("guide/tutorials/*.md")},
        {
            "Results": [
                {result_name(x): x} for x in sorted(pages("results/*/*.md"), key=result_name)
            ]
        },
        {"Reference": reference},
        {
            "Project": [
                {"Changes": "changelog.md"},
                "contributing.md",
                "code_of_conduct.md",
                "security.md",
            ]
        },
    ]
    return config


def result_name(page: str) -> str:
    """Return what a page of results is called in the navigation: its folder, and what it is of that."""
    _, folder, file = page.split("/")
    stem = file.removesuffix(".md")
    return folder.capitalize() + ("" if stem == "README" else f": {stem}")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in the folder of the pages."""
    for source, uri in ELSEWHERE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, uri, content=text))
    for uri, text in reference_pages().items():
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Turn links inside the repository into links inside the site.

    A link to a file that the site does not show keeps its words only. A link to nothing stays as it is:
    MkDocs warns of it.
    """
    uri = page.file.src_uri
    origin = next((x for x, y in ELSEWHERE.items() if y == uri), f"examples/{uri}")

    def replaced(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), link["target"]))
        shown = ELSEWHERE.get(path, path.removeprefix("examples/"))
        if files.get_file_from_path(shown):
            target = posixpath.relpath(shown, posixpath.dirname(uri) or ".")
            return f"{link['image']}[{link['words']}]({target}{link['anchor'] or ''})"
        return link["words"] if (ROOT / path).exists() else link[0]

    return LINK.sub(replaced, markdown)


def public_modules() -> list[str]:
    """Return the modules that list public names, those that users import from first in front."""
    found = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if re.search(r"^__all__ = ", file.read_text(encoding="utf-8"), re.MULTILINE):
                module = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
                found.append(module.removesuffix(".__init__"))
    return sorted(found, key=lambda x: (x not in PACKAGES, PACKAGES.index(x.split(".")[0]), x))


def reference_pages() -> dict[str, str]:
    """Return a page for each public module; a name is described on the first page that has it."""
    loader = griffe.GriffeLoader(search_paths=[ROOT])
    for package in PACKAGES:
        loader.load(package)
    loader.resolve_aliases(implicit=True, external=False)
    home: dict[str, str] = {}
    pages = {}
    for name in public_modules():
        module = loader.modules_collection[name]
        described, elsewhere = [], []
        for export in sorted(str(x) for x in module.exports or ()):
            path = f"{name}.{export}"
            thing = module.members.get(export)
            if thing is None or (thing.is_alias and not known(thing)):
                continue
            canonical = thing.canonical_path
            if thing.is_module or canonical in home:
                elsewhere.append((export, canonical))
                continue
            home[canonical] = path
            described.append(f"::: {path}")
        pages[name] = (module, described, elsewhere)
    texts = {}
    for name, (module, described, elsewhere) in pages.items():
        summary = module.docstring.value if module.docstring else ""
        also = [
            f"- [`{export}`]({home_page(canonical, home, pages)})"
            for export, canonical in elsewhere
            if home_page(canonical, home, pages)
        ]
        more = ["## Described elsewhere", "\n".join(also)] if also else []
        texts[f"reference/{name}.md"] = (
            "\n\n".join([f"# `{name}`", summary, *described, *more]) + "\n"
        )
    rows = [f"| [`{x}`]({x}.md) | {first_line(pages[x][0])} |" for x in pages]
    texts["reference/index.md"] = "\n".join(
        ["# Reference", "", "| module | what it is |", "|---|---|", *rows, ""]
    )
    return texts


def known(thing: griffe.Alias) -> bool:
    """Tell whether an import leads to something of ours."""
    try:
        return thing.final_target.canonical_path.split(".")[0] in PACKAGES
    except (griffe.AliasResolutionError, griffe.CyclicAliasError):
        return False


def home_page(canonical: str, home: dict[str, str], pages: dict[str, Any]) -> str:
    """Return where something is described: a module's page, or a name's place on one."""
    if canonical in pages:
        return f"{canonical}.md"
    if canonical not in home:
        return ""
    return f"{home[canonical].rpartition('.')[0]}.md#{home[canonical]}"


def first_line(module: griffe.Object) -> str:
    """Return the first line of a module's docstring."""
    return module.docstring.value.splitlines()[0].replace("|", "\\|") if module.docstring else ""
