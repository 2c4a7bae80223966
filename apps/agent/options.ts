/** The agent's flags, parsed and checked once. */
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isIpv4 } from '#base/address.js';
import { messageOf, WeftError } from '#base/errors.js';
import { checkName, HOSTNAME_PATTERN } from '#model/names.js';
import { FIREWALL_MODES, type FirewallMode } from '#linux/host-findings.js';
import { AGENT_PORT, CONTROLLER_PORT, JOIN_PORT } from '#model/ports.js';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export interface AgentOptions {
  dataDir: string;
  runDir: string;
  /** host:port of controllers, in addition to those known from joining. */
  controllers: string[];
  /** Underlay address: VTEP, and where the agent listens. */
  address: string;
  name: string;
  containerdSocket: string;
  containerdNamespace: string;
  /** File system whose fullness decides on removing images. */
  containerdRoot: string;
  /** For the first start only. */
  join?: { token: string; host: string; port: number };
  listenPort: number;
  resolvConf: string;
  firewall: FirewallMode;
  /** Milliseconds between new keys for encrypted networks. */
  rotateKeysMs: number;
  logLevel: (typeof LOG_LEVELS)[number];
}

export const USAGE = `usage: agent --address IPV4 [flags]
  --address IPV4                 underlay address of this node
  --name NAME                    name of the node (default: the host's name)
  --data-dir DIR                 what must survive a reboot (default /var/lib/weft)
  --run-dir DIR                  sockets and pipes (default /run/weft)
  --controllers HOST:PORT,…      controllers to attach to
  --join HOST:PORT               controller to join at, the first time
  --token TOKEN                  join token, the first time (or WEFT_TOKEN: a flag can be read in the process list)
  --containerd SOCKET            default /run/containerd/containerd.sock
  --containerd-namespace NAME    default weft
  --containerd-root DIR          default /var/lib/containerd
  --listen-port PORT             where controllers reach this agent (default ${AGENT_PORT})
  --resolv-conf FILE             where upstream name servers are read from (default /etc/resolv.conf)
  --firewall MODE                none: leave all rules of the host alone; own: keep tables of our own; own+docker: and
                                 accept rules in Docker's DOCKER-USER, where there is one (default own+docker)
  --rotate-keys HOURS            between new keys for encrypted networks (default 24)
  --log-level LEVEL              ${LOG_LEVELS.join(', ')} (default info)
`;

const text = { type: 'string' } as const;

/** @throws USAGE, BAD_NAME */
export function parseOptions(argv: readonly string[], env: Record<string, string | undefined>): AgentOptions {
  const v = read(argv);
  const address = v.address ?? '';
  if (!isIpv4(address)) throw usage('--address must be the IPv4 address of this node');
  const token = v.token ?? env['WEFT_TOKEN'];
  return {
    dataDir: resolve(v['data-dir'] ?? '/var/lib/weft'),
    runDir: resolve(v['run-dir'] ?? '/run/weft'),
    controllers: (v.controllers ?? '')
      .split(',')
      .filter(Boolean)
      .map((t) => checkTarget(t, CONTROLLER_PORT)),
    address,
    name: checkName(v.name ?? hostname(), 'node', HOSTNAME_PATTERN),
    containerdSocket: resolve(v.containerd ?? '/run/containerd/containerd.sock'),
    containerdNamespace: v['containerd-namespace'] ?? 'weft',
    containerdRoot: resolve(v['containerd-root'] ?? '/var/lib/containerd'),
    join: token && v.join ? { token, ...splitTarget(v.join, JOIN_PORT) } : undefined,
    listenPort: v['listen-port'] === undefined ? AGENT_PORT : portOf(v['listen-port'], 0),
    resolvConf: resolve(v['resolv-conf'] ?? '/etc/resolv.conf'),
    firewall: firewallOf(v.firewall ?? 'own+docker'),
    rotateKeysMs: hoursOf(v['rotate-keys'] ?? '24'),
    logLevel: levelOf(v['log-level'] ?? 'info'),
  };
}

function read(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        'data-dir': text,
        'run-dir': text,
        controllers: text,
        address: text,
        name: text,
        containerd: text,
        'containerd-namespace': text,
        'containerd-root': text,
        token: text,
        join: text,
        'listen-port': text,
        'resolv-conf': text,
        firewall: text,
        'rotate-keys': text,
        'log-level': text,
      },
    }).values;
  } catch (error) {
    throw usage(messageOf(error));
  }
}

const usage = (what: string): WeftError => new WeftError('USAGE', { what, hint: 'Run the agent with correct flags:\n' + USAGE });

function levelOf(value: string): AgentOptions['logLevel'] {
  const level = LOG_LEVELS.find((l) => l === value);
  if (!level) throw usage(`--log-level must be one of ${LOG_LEVELS.join(', ')}`);
  return level;
}

function firewallOf(value: string): FirewallMode {
  const mode = FIREWALL_MODES.find((m) => m === value);
  if (!mode) throw usage(`--firewall must be one of ${FIREWALL_MODES.join(', ')}`);
  return mode;
}

function hoursOf(value: string): number {
  const hours = /^\d{1,4}(\.\d{1,4})?$/.test(value) ? Number(value) : NaN;
  if (!(hours > 0)) throw usage(`--rotate-keys takes a number of hours, not "${value}"`);
  return hours * 3_600_000;
}

function portOf(value: string, least = 1): number {
  const port = /^\d{1,5}$/.test(value) ? Number(value) : NaN;
  if (!(port >= least && port <= 65_535)) throw usage(`"${value}" is not a port`);
  return port;
}

/** `host:port` or `host` → its parts. @throws USAGE */
export function splitTarget(target: string, defaultPort: number): { host: string; port: number } {
  const match = /^([A-Za-z0-9.-]+)(?::(\d+))?$/.exec(target);
  if (!match) throw usage(`"${target}" is not host:port`);
  return { host: match[1] as string, port: match[2] === undefined ? defaultPort : portOf(match[2]) };
}

function checkTarget(target: string, defaultPort: number): string {
  const { host, port } = splitTarget(target, defaultPort);
  return `${host}:${port}`;
}
