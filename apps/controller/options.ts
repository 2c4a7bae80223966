/** The command line of the controller, read once. Nothing else of the process looks at argv or the environment. */
import { parseArgs } from 'node:util';
import { isIpv4, parseCidr } from '#base/address.js';
import { messageOf, WeftError } from '#base/errors.js';
import {
  CONTROLLER_PORT,
  DNS_PORT,
  ETCD_CLIENT_PORT,
  ETCD_PEER_PORT,
  HEALTH_PORT,
  JOIN_PORT,
  VXLAN_PORT,
  WIREGUARD_PORT,
} from '#model/ports.js';
import { DEFAULT_DEAD_AFTER_MS, LEAST_DEAD_AFTER_MS, MOST_DEAD_AFTER_MS } from '#model/node-death.js';
import { DEFAULT_TTL_SECONDS, MAX_TTL_SECONDS } from '#model/name-ttl.js';
import { LOG_LEVELS, type LogLevel } from '#nest-kit/logger.js';
import { DEFAULT_POOLS, DEFAULT_SUBNET_PREFIX } from '#planner/pool.js';

export interface ControllerOptions {
  dataDir: string;
  name: string;
  /** Where agents, users and other controllers reach this one. */
  advertise: string;
  /** What the gRPC listeners bind. */
  listen: string;
  port: number;
  joinPort: number;
  healthPort: number;
  /** Empty: start an etcd of our own. */
  etcdEndpoints: string[];
  etcdCa: string | undefined;
  etcdCert: string | undefined;
  etcdKey: string | undefined;
  etcdClientPort: number;
  etcdPeerPort: number;
  /** For the first start of one more controller: where to join, and with which token. */
  join: { host: string; port: number; token: string } | undefined;
  logLevel: LogLevel;
  pools: string[];
  subnetPrefix: number;
  vxlanPort: number;
  dnsTtlSeconds: number;
  deadAfterMs: number;
}

export const HELP = `Usage: weft-controller --data-dir DIR --advertise IP [options]

Decides for a cluster: places tasks, gives out addresses, feeds the agents, answers ctl.

  --data-dir DIR          certificates, etcd's data and logs (must be kept between starts)
  --advertise IP          address that agents and users reach this controller at
  --name NAME             name of this controller (default: controller)
  --listen IP             address to bind (default: the advertised one)
  --port N                gRPC of the API and the agents (default: ${CONTROLLER_PORT})
  --join-port N           joining with a token (default: ${JOIN_PORT})
  --health-port N         HTTP health on 127.0.0.1 (default: ${HEALTH_PORT})
  --join HOST:PORT        become one more controller of a cluster, the first time: where one of its controllers lets join
  --token TOKEN           for that, from \`ctl controller token\` (or WEFT_TOKEN: a flag can be read in the process list)
  --etcd-endpoints URLS   use this etcd (comma-separated) instead of starting one
  --etcd-ca FILE  --etcd-cert FILE  --etcd-key FILE
                          certificates for that etcd
  --etcd-client-port N    port of our own etcd (default: ${ETCD_CLIENT_PORT})
  --etcd-peer-port N      its peer port (default: ${ETCD_PEER_PORT})
  --pools CIDRS           ranges to cut the subnets of networks from (default: ${DEFAULT_POOLS.join(',')}); for a new cluster
  --subnet-prefix N       size of those subnets (default: ${DEFAULT_SUBNET_PREFIX})
  --vxlan-port N          UDP port of the nodes' VXLAN (default: ${VXLAN_PORT}); for a new cluster
  --dns-ttl SECONDS       how long an answer to a name may be kept (default: ${DEFAULT_TTL_SECONDS}); for a new cluster
  --dead-after SECONDS    how long a node's agent is not heard until its tasks run elsewhere (default: ${DEFAULT_DEAD_AFTER_MS / 1000}); for a new cluster
  --log-level LEVEL       ${LOG_LEVELS.join(', ')} (default: info)
  --help                  this text
`;

const usage = (what: string, why?: string): WeftError => new WeftError('USAGE', { what, why, hint: 'See `weft-controller --help`.' });

function parsePort(text: string, flag: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw usage(`--${flag} ${text} is not a port`);
  return port;
}

/** Not what a node needs for something else. */
function parseVxlanPort(text: string): number {
  const port = parsePort(text, 'vxlan-port');
  if (port < 1024 || [WIREGUARD_PORT, DNS_PORT].includes(port))
    throw usage(`--vxlan-port ${port} is not free`, 'ports below 1024 belong to services of the host; Weft itself uses some others');
  return port;
}

function parseTtl(text: string): number {
  const seconds = Number(text);
  if (!/^\d{1,5}$/.test(text) || seconds > MAX_TTL_SECONDS)
    throw usage(`--dns-ttl ${text} is not between 0 and ${MAX_TTL_SECONDS} seconds`);
  return seconds;
}

function parseDeadAfter(text: string): number {
  const ms = Number(text) * 1000;
  if (!/^\d{1,5}$/.test(text) || ms < LEAST_DEAD_AFTER_MS || ms > MOST_DEAD_AFTER_MS)
    throw usage(`--dead-after ${text} is not between ${LEAST_DEAD_AFTER_MS / 1000} and ${MOST_DEAD_AFTER_MS / 1000} seconds`);
  return ms;
}

function parseIp(text: string | undefined, flag: string): string {
  if (text === undefined) throw usage(`--${flag} is missing`);
  if (!isIpv4(text) || text === '0.0.0.0') throw usage(`--${flag} ${text} is not an address of this host`);
  return text;
}

/** @throws USAGE */
function parseJoin(target: string | undefined, token: string | undefined): ControllerOptions['join'] {
  if (target === undefined) return undefined;
  const match = /^([A-Za-z0-9.-]+)(?::(\d{1,5}))?$/.exec(target);
  if (!match) throw usage(`--join ${target} is not host:port`);
  // A controller that has joined is started again with the same flags: its token is spent, and not needed.
  return { host: match[1] as string, port: parsePort(match[2] ?? String(JOIN_PORT), 'join'), token: token ?? '' };
}

function parsePools(text: string): string[] {
  const pools = text.split(',');
  for (const pool of pools) {
    try {
      parseCidr(pool);
    } catch (error) {
      throw usage(`--pools ${text} is not valid`, messageOf(error));
    }
  }
  return pools;
}

function parseLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((l) => l === text);
  if (!level) throw usage(`--log-level ${text} is none of ${LOG_LEVELS.join(', ')}`);
  return level;
}

function read(argv: readonly string[]) {
  const string = { type: 'string' } as const;
  try {
    return parseArgs({
      args: [...argv],
      options: {
        'data-dir': string,
        name: { ...string, default: 'controller' },
        advertise: string,
        listen: string,
        port: { ...string, default: String(CONTROLLER_PORT) },
        'join-port': { ...string, default: String(JOIN_PORT) },
        'health-port': { ...string, default: String(HEALTH_PORT) },
        join: string,
        token: string,
        'etcd-endpoints': { ...string, default: '' },
        'etcd-ca': string,
        'etcd-cert': string,
        'etcd-key': string,
        'etcd-client-port': { ...string, default: String(ETCD_CLIENT_PORT) },
        'etcd-peer-port': { ...string, default: String(ETCD_PEER_PORT) },
        'log-level': { ...string, default: 'info' },
        pools: { ...string, default: DEFAULT_POOLS.join(',') },
        'subnet-prefix': { ...string, default: String(DEFAULT_SUBNET_PREFIX) },
        'vxlan-port': { ...string, default: String(VXLAN_PORT) },
        'dns-ttl': { ...string, default: String(DEFAULT_TTL_SECONDS) },
        'dead-after': { ...string, default: String(DEFAULT_DEAD_AFTER_MS / 1000) },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw usage('the command line is not valid', messageOf(error));
  }
}

/** @returns undefined when help was asked for. @throws USAGE */
export function parseOptions(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
): ControllerOptions | undefined {
  const v = read(argv);
  if (v.help) return undefined;
  if (!v['data-dir']) throw usage('--data-dir is missing');
  const advertise = parseIp(v.advertise, 'advertise');
  const subnetPrefix = Number(v['subnet-prefix']);
  if (!Number.isInteger(subnetPrefix) || subnetPrefix < 8 || subnetPrefix > 29)
    throw usage(`--subnet-prefix ${v['subnet-prefix']} is not between 8 and 29`);
  return {
    dataDir: v['data-dir'],
    name: v.name,
    advertise,
    listen: v.listen === undefined ? advertise : parseIp(v.listen, 'listen'),
    port: parsePort(v.port, 'port'),
    joinPort: parsePort(v['join-port'], 'join-port'),
    healthPort: parsePort(v['health-port'], 'health-port'),
    etcdEndpoints: v['etcd-endpoints'].split(',').filter((e) => e !== ''),
    etcdCa: v['etcd-ca'],
    etcdCert: v['etcd-cert'],
    etcdKey: v['etcd-key'],
    etcdClientPort: parsePort(v['etcd-client-port'], 'etcd-client-port'),
    etcdPeerPort: parsePort(v['etcd-peer-port'], 'etcd-peer-port'),
    join: parseJoin(v.join, v.token ?? env['WEFT_TOKEN']),
    logLevel: parseLevel(v['log-level']),
    pools: parsePools(v.pools),
    subnetPrefix,
    vxlanPort: parseVxlanPort(v['vxlan-port']),
    dnsTtlSeconds: parseTtl(v['dns-ttl']),
    deadAfterMs: parseDeadAfter(v['dead-after']),
  };
}
