/** What is gathered while a file is read: values of the model, with the places that later checks need to name. */
import type { ContentKind } from '#model/content.js';
import type {
  Attachment,
  FileMount,
  FileWish,
  Link,
  MountWish,
  NetworkMode,
  Port,
  RestartPolicy,
  Service,
  VolumeWish,
} from '#model/stack.js';
import type { NetworkWish } from '#model/network-wish.js';
import type { Position } from './issue.js';
import type { ReadFile } from './loading.js';
import type { BuildWish, PullPolicy, WatchRule } from './build-wish.js';
import type { Field } from './context.js';
import type { PlacedSubnet } from './read-ipam.js';

/** The top level. Networks and volumes are read before services, wherever they stand in the file. */
export interface ProjectDraft {
  name: string;
  networks: Map<string, { wish: NetworkWish; at: Position; subnets: readonly PlacedSubnet[] }>;
  volumes: Map<string, { wish: VolumeWish; at: Position }>;
  /** By kind, then by key. */
  files: Record<FileMount['kind'], Map<string, { wish: FileWish; source?: FileSource }>>;
  services: Map<string, Service>;
  /** By their source. */
  trees: Map<string, FileSource>;
  /** Secrets by key: where their content is on this machine. Read from the model: builds need them. */
  secretSources: ReadonlyMap<string, { file?: string; environment?: string }>;
  /** By service: for this machine, not for the cluster. */
  builds: Map<string, BuildWish>;
  /** Builds that are made of another service's image, checked when all are known. */
  buildNeeds: { service: string; needs: string; field: Field }[];
  watches: Map<string, WatchRule[]>;
  pulls: Map<string, PullPolicy>;
  /** Of services, in small letters → as they were written. */
  names: Map<string, string>;
  /** Of every service, to find two that want one port of the node. */
  ports: PlacedPort[];
  /** Of every service: addresses and MACs that it names as its own. */
  statics: StaticAddress[];
  /** Of every service that has one. */
  networkModes: Map<string, PlacedMode>;
  /** Of every service that has some. */
  volumesFrom: Map<string, PlacedVolumesFrom[]>;
  /** Further files on the user's machine. */
  read?: ReadFile | undefined;
}

/** Where a config, secret or tree comes from. The file system is the caller's: a file is named here, and not read. */
export interface FileSource {
  kind: ContentKind;
  /** Of configs and secrets, in the stack; of trees the mount's source. */
  key: string;
  /** An absolute path; or what the file is to hold. */
  from: { file: string } | { text: string };
  at: Position;
  path: string;
}

/** The network mode of a service, and where it is said. */
export interface PlacedMode {
  mode: NetworkMode;
  at: Position;
  path: string;
}

/** An item of `volumes_from`, and where it is said. */
export interface PlacedVolumesFrom {
  service: string;
  readOnly: boolean;
  at: Position;
  path: string;
}

export interface StaticAddress {
  kind: 'address' | 'mac';
  service: string;
  /** Key of the network. */
  network: string;
  text: string;
  at: Position;
  path: string;
}

export interface PlacedPort {
  port: Port;
  at: Position;
  path: string;
}

export interface ServiceDraft {
  project: ProjectDraft;
  name: string;
  container: Partial<Service['container']>;
  networks: Map<string, Attachment>;
  networkMode?: PlacedMode;
  links?: Link[];
  /** Of the first interface, and where it is said. */
  mac?: { text: string; at: Position; path: string };
  ports: PlacedPort[];
  /** Of the service as a whole, not of its containers. */
  traits: Pick<Service, 'endpointMode' | 'affinity' | 'drainMs' | 'dnsTtlSeconds' | 'expose' | 'labels'>;
  mounts: { mount: MountWish; at: Position; path: string }[];
  files: { file: FileMount; at: Position; path: string }[];
  /** Read last, when the name of the image is known. */
  build?: Field;
  develop?: Field;
  pull?: PullPolicy;
  replicas?: { count: number; at: Position };
  scale?: { count: number; at: Position };
  /** `restart`; what `deploy.restart_policy` says counts more. */
  restart?: RestartPolicy;
  restartPolicy?: RestartPolicy;
  dependsOn?: Service['dependsOn'];
  mode?: Service['mode'];
  placement?: Service['placement'];
  reservations?: Service['reservations'];
  update?: Service['update'];
  rollback?: Service['rollback'];
  onPartition?: Service['onPartition'];
}
