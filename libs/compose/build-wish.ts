/** What a file says of how an image is made, and of what is watched while it is worked on: for the machine of the user, not for the cluster. */

/** `build` of a service. Paths are absolute; what is missing was not said. */
export interface BuildWish {
  service: string;
  /** The name that the result gets. */
  image: string;
  /** A directory, or a URL that the builder understands. */
  context: string;
  /** A path, taken from the context unless it is absolute. */
  dockerfile?: string;
  dockerfileInline?: string;
  args: Record<string, string>;
  target?: string;
  cacheFrom: string[];
  cacheTo: string[];
  noCache: boolean;
  noCacheFilter: string[];
  pull: boolean;
  labels: Record<string, string>;
  network?: string;
  platforms: string[];
  secrets: BuildSecret[];
  /** Id → path of a socket or key; '' for the agent of the user. */
  ssh: Record<string, string>;
  /** More names for the result. */
  tags: string[];
  shmBytes?: number;
  additionalContexts: Record<string, string>;
  /** Contexts that are the image of another service, which is built before: its key. */
  serviceContexts: Record<string, string>;
  extraHosts: { name: string; address: string }[];
  privileged: boolean;
  ulimits: { name: string; soft: number; hard: number }[];
  entitlements: string[];
  isolation?: string;
  provenance?: string;
  sbom?: string;
  /** Key of `build` → "file:line:column": for a builder that cannot do it. */
  places: Record<string, string>;
}

/** Its content comes from a file, or from the text of a variable. */
export type BuildSecret = { id: string; file: string } | { id: string; text: string };

export const WATCH_ACTIONS = ['rebuild', 'sync', 'restart', 'sync+restart', 'sync+exec'] as const;

/** One entry of `develop.watch`. */
export interface WatchRule {
  action: (typeof WATCH_ACTIONS)[number];
  /** Absolute, a file or a directory. */
  path: string;
  /** Absolute path in the containers; for what syncs. */
  target?: string;
  /** Patterns of .dockerignore, relative to `path`. Files that fit `ignore` are not looked at; with `include`, only those that fit it. */
  include: string[];
  ignore: string[];
  initialSync: boolean;
  /** For sync+exec: what is run in the containers afterwards. */
  exec?: { command: string[]; user?: string; workingDir?: string; environment: Record<string, string> };
}

/** When an image is asked for: as in Compose. */
export const PULL_POLICIES = ['always', 'never', 'missing', 'build'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];
