/** Compose files → stack: the canonical model (load-model.ts), then what of it the stack holds (read-*.ts). */
import { stackSchema, type Stack } from '#model/stack.js';
import { failure, report, warningLines, type Context, type Field } from './context.js';
import type { BuildWish, PullPolicy, WatchRule } from './build-wish.js';
import { checkStatics } from './check-statics.js';
import type { FileSource, ProjectDraft } from './draft.js';
import { joinPath } from './issue.js';
import { COMPOSE_FILE } from './key-table.js';
import { loadModel, type Model } from './load-model.js';
import type { ModelInput } from './loading.js';
import { checkBuildNeeds } from './read-build.js';
import { readByTable, type KeyTable } from './read-by-table.js';
import { readFileWishes, usedFiles, usedSources } from './read-files.js';
import { checkModes } from './read-modes.js';
import { namedEntries, readNetworks } from './read-networks.js';
import { checkPortClashes } from './read-ports.js';
import { readService } from './read-service.js';
import { takeVolumesFrom } from './read-volumes-from.js';
import { readVolumeWishes } from './read-volumes.js';
import { textOf, valueOf } from './short-forms.js';
import { refuseByStanding } from './standing.js';
import { nearestEntry, type Value } from './tree.js';

export interface ComposeInput extends Omit<ModelInput, 'files'> {
  text: string;
  /** As it shall appear in messages. */
  file: string;
}

export interface ComposeResult {
  stack: Stack;
  /** How images are made, by service. */
  builds: ReadonlyMap<string, BuildWish>;
  /** What is watched, by service; only services that watch something. */
  watches: ReadonlyMap<string, readonly WatchRule[]>;
  /** What the file says of when an image is asked for, by service. */
  pulls: ReadonlyMap<string, PullPolicy>;
  /** One line each, with its place. */
  warnings: string[];
  /** Of the configs and secrets that services use, and that are not external; of the files that they mount from beside the compose file. */
  sources: FileSource[];
}

/** A single file, by its text. @throws ComposeErrors (COMPOSE_INVALID) with every issue */
export function parseCompose({ text, file, ...input }: ComposeInput): ComposeResult {
  return readStack(loadModel({ ...input, files: [{ path: file, shown: file, text }] }));
}

/** @throws ComposeErrors (COMPOSE_INVALID) with every issue of all files */
export function readStack(model: Model): ComposeResult {
  const c = model.context;
  refuseByStanding(c, model.tree, COMPOSE_FILE);
  const project = readProject(c, { value: model.tree, path: '', at: model.tree.at }, model);
  if (c.issues.length > 0) throw failure(c);
  const { builds, watches, pulls } = project;
  return { stack: checked(c, model.tree, project), builds, watches, pulls, warnings: warningLines(c), sources: usedSources(project) };
}

interface TopLevel {
  services?: Field;
  networks?: Field;
  volumes?: Field;
  configs?: Field;
  secrets?: Field;
}

const TOP_LEVEL_KEYS: KeyTable<TopLevel> = {
  shape: COMPOSE_FILE,
  keys: {
    name: () => undefined,
    services: (_, field, top) => void (top.services = field),
    networks: (_, field, top) => void (top.networks = field),
    volumes: (_, field, top) => void (top.volumes = field),
    configs: (_, field, top) => void (top.configs = field),
    secrets: (_, field, top) => void (top.secrets = field),
  },
};

function readProject(c: Context, field: Field, { name, read, dormant }: Pick<Model, 'name' | 'read' | 'dormant'>): ProjectDraft {
  const top: TopLevel = {};
  readByTable(c, field, TOP_LEVEL_KEYS, top);
  const project: ProjectDraft = {
    name,
    networks: new Map(),
    volumes: new Map(),
    files: { config: new Map(), secret: new Map() },
    trees: new Map(),
    services: new Map(),
    names: new Map(),
    ports: [],
    statics: [],
    networkModes: new Map(),
    volumesFrom: new Map(),
    read,
    secretSources: secretSourcesOf(field.value),
    builds: new Map(),
    watches: new Map(),
    pulls: new Map(),
    buildNeeds: [],
  };
  if (top.networks) readNetworks(c, top.networks, project);
  if (top.volumes) readVolumeWishes(c, top.volumes, project);
  if (top.configs) readFileWishes(c, top.configs, project, 'config');
  if (top.secrets) readFileWishes(c, top.secrets, project, 'secret');
  if (top.services) for (const entry of namedEntries(c, top.services, 'service')) readService(c, entry, project);
  takeVolumesFrom(c, project);
  checkPortClashes(c, project.ports);
  checkStatics(c, project);
  checkModes(c, project);
  checkBuildNeeds(c, project, dormant);
  return project;
}

/** Where the content of each secret is on this machine. */
function secretSourcesOf(tree: Value): ProjectDraft['secretSources'] {
  const secrets = valueOf(tree, 'secrets');
  const entries = secrets?.kind === 'map' ? secrets.entries : [];
  return new Map(entries.map(({ key, value }) => [key, { file: textOf(value, 'file'), environment: textOf(value, 'environment') }]));
}

/** The last word is the stack's schema: whatever it refuses gets the place nearest to it in the files. */
function checked(c: Context, tree: Value, project: ProjectDraft): Stack {
  const result = stackSchema.safeParse({
    name: project.name,
    services: Object.fromEntries(project.services),
    networks: Object.fromEntries([...project.networks].map(([key, { wish }]) => [key, wish])),
    volumes: Object.fromEntries([...project.volumes].map(([key, { wish }]) => [key, wish])),
    ...usedFiles(project),
  });
  if (result.success) return result.data;
  for (const issue of result.error.issues) {
    const path = issue.path.map(String);
    report(c, nearestEntry(tree, path).at, path.reduce(joinPath, ''), issue.message);
  }
  throw failure(c);
}
