/**
 * The layer rules, run. A room imports only from lower layers, and rooms of layer 2 do not import one another: so a pure
 * decision can never reach a kernel, a store or a clock, and each adapter can be replaced by its twin.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

const ROOT = process.cwd();

/** Room → layer, and what else it may import of its own layer (with the reason in its README). */
const LAYERS: Record<string, number> = {
  'libs/base': 0,
  'libs/model': 1,
  'libs/compose': 1,
  'libs/planner': 1,
  'libs/overlay': 1,
  'libs/dns': 1,
  'libs/store': 2,
  'libs/linux': 2,
  'libs/runtime': 2,
  'libs/dns-server': 2,
  'libs/rpc': 2,
  'libs/trust': 2,
  'libs/logs': 2,
  'libs/nest-kit': 2,
  'apps/ctl': 3,
  'apps/controller': 3,
  'apps/agent': 3,
};

/** A package that only these rooms may import, and why. */
const KEEPERS: { packages: RegExp; rooms: string[]; why: string }[] = [
  { packages: /^etcd3$/, rooms: ['libs/store'], why: 'its traps are dealt with in one place' },
  {
    packages: /^(node:)?child_process$/,
    rooms: ['libs/linux', 'libs/store', 'libs/runtime', 'apps/agent', 'apps/ctl'],
    why: 'commands have one runner, in libs/linux; what else starts a process looks after its life (etcd, companions, development clusters)',
  },
  {
    packages: /^@nestjs\//,
    rooms: ['libs/nest-kit', 'apps/controller'],
    why: 'Nest frames the controller and nothing else; the agent does without',
  },
  { packages: /^yaml$/, rooms: ['libs/compose', 'apps/ctl'], why: 'Compose text is read in one place' },
];

/** What a pure room may not touch: effects come in as arguments. */
const EFFECTS = /^(node:)?(fs|net|dgram|http|https|tls|child_process|os|process|worker_threads|timers)(\/|$)/;

function* sources(dir: string): Generator<string> {
  for (const name of readdirSync(dir)) {
    const path = join(dir, name);
    if (statSync(path).isDirectory()) {
      if (name !== 'gen') yield* sources(path);
    } else if (name.endsWith('.ts')) yield path;
  }
}

interface Import {
  file: string;
  room: string;
  specifier: string;
  test: boolean;
}

const roomOf = (file: string): string => relative(ROOT, file).split(sep).slice(0, 2).join('/');
const IMPORT = /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)/g;

const imports: Import[] = ['apps', 'libs'].flatMap((top) =>
  [...sources(join(ROOT, top))].flatMap((file) =>
    [...readFileSync(file, 'utf8').matchAll(IMPORT)].map((m) => ({
      file: relative(ROOT, file),
      room: roomOf(file),
      specifier: (m[1] ?? m[2]) as string,
      test: /\.(spec|contract)\.ts$/.test(file),
    })),
  ),
);

/** The room an import leads to, or undefined for a package. */
function target(i: Import): string | undefined {
  const alias = /^#([a-z-]+)\//.exec(i.specifier);
  if (alias) return `libs/${alias[1]}`;
  if (i.specifier.startsWith('.')) return roomOf(join(ROOT, i.file, '..', i.specifier));
  return undefined;
}

describe('rooms and layers', () => {
  it('knows every room', () => {
    const unknown = [...new Set(imports.map((i) => i.room))].filter((room) => !(room in LAYERS));
    expect(unknown).toEqual([]);
    expect(imports.length).toBeGreaterThan(100);
  });

  it('imports only from lower layers (a pure room that reaches an adapter cannot be tested without the world)', () => {
    const bad = imports
      .filter((i) => !i.test)
      .filter((i) => {
        const to = target(i);
        if (to === undefined || to === i.room) return false;
        const [from, into] = [LAYERS[i.room], LAYERS[to]];
        if (from === undefined || into === undefined) return true;
        return from === 1 ? into > 1 || (into === 1 && to !== 'libs/model') : into >= from;
      })
      .map((i) => `${i.file} imports ${i.specifier}`);
    expect(bad).toEqual([]);
  });

  it.each(KEEPERS)('keeps $packages in $rooms: $why', ({ packages, rooms }) => {
    const bad = imports.filter((i) => packages.test(i.specifier) && !rooms.includes(i.room)).map((i) => `${i.file} imports ${i.specifier}`);
    expect(bad).toEqual([]);
  });

  it('keeps effects out of base and the pure rooms (they decide; the edge acts)', () => {
    const bad = imports
      .filter((i) => !i.test && (LAYERS[i.room] ?? 9) <= 1 && EFFECTS.test(i.specifier))
      .map((i) => `${i.file} imports ${i.specifier}`);
    expect(bad).toEqual([]);
  });

  it('has no barrels (a name is imported from the file that defines it)', () => {
    const barrels = ['apps', 'libs'].flatMap((top) => [...sources(join(ROOT, top))]).filter((file) => /[\\/]index\.ts$/.test(file));
    expect(barrels).toEqual([]);
  });

  it('has no import cycles (under ESM they crash at start, far from their cause)', () => {
    const edges = new Map<string, string[]>();
    for (const i of imports) {
      if (!i.specifier.startsWith('.') && !i.specifier.startsWith('#')) continue;
      const path = i.specifier.startsWith('#')
        ? i.specifier.replace(/^#([a-z-]+)\//, 'libs/$1/')
        : relative(ROOT, join(ROOT, i.file, '..', i.specifier));
      edges.set(i.file, [...(edges.get(i.file) ?? []), path.replace(/\.js$/, '.ts')]);
    }
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (file: string, path: string[]): void => {
      const at = path.indexOf(file);
      if (at >= 0) cycles.push([...path.slice(at), file].join(' → '));
      if (at >= 0 || done.has(file)) return;
      for (const next of edges.get(file) ?? []) visit(next, [...path, file]);
      done.add(file);
    };
    for (const file of edges.keys()) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it.each(Object.keys(LAYERS))('%s says in a README what lives there', (room) => {
    expect(readFileSync(join(ROOT, room, 'README.md'), 'utf8').length).toBeGreaterThan(200);
  });
});
