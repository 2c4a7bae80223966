/** Docker Swarm on two simulated nodes: the peer of `ctl up`. Needs docker.io; its own dockerds, directories and namespaces. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { daemon, has, sh, until } from './lab.mjs';

const PREFIX = `wsw${process.pid % 1000}`;
const LAN = `${PREFIX}-lan`;
const node = (i) => ({ netns: `${PREFIX}-n${i}`, address: `192.168.78.${i}` });

export const swarmAvailable = () => has('dockerd');

/** @returns {{ up(image, replicas): Promise<number>, stop(): Promise<void> }} `up` gives milliseconds until all run and resolve */
export async function startSwarm(imageArchive) {
  const dir = mkdtempSync(join(tmpdir(), 'weft-swarm-'));
  const nodes = [node(1), node(2)];
  sh('ip', ['netns', 'add', LAN]);
  sh('nsenter', [`--net=/run/netns/${LAN}`, 'sysctl', '-qw', '-e', 'net.bridge.bridge-nf-call-iptables=0']);
  sh('ip', ['-n', LAN, 'link', 'add', 'lan', 'type', 'bridge']);
  sh('ip', ['-n', LAN, 'link', 'set', 'lan', 'up']);
  const daemons = [];
  for (const [i, n] of nodes.entries()) {
    sh('ip', ['netns', 'add', n.netns]);
    sh('ip', ['-n', n.netns, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `p${i}`, 'netns', LAN]);
    sh('ip', ['-n', LAN, 'link', 'set', `p${i}`, 'master', 'lan', 'up']);
    sh('ip', ['-n', n.netns, 'addr', 'add', `${n.address}/24`, 'dev', 'eth0']);
    sh('ip', ['-n', n.netns, 'link', 'set', 'eth0', 'up']);
    sh('ip', ['-n', n.netns, 'link', 'set', 'lo', 'up']);
    n.dir = join(dir, `n${i}`);
    mkdirSync(n.dir);
    n.socket = join(n.dir, 'd.sock');
    const args = [
      '--data-root',
      join(n.dir, 'data'),
      '--exec-root',
      join(n.dir, 'run'),
      '--pidfile',
      join(n.dir, 'pid'),
      '-H',
      `unix://${n.socket}`,
      '--storage-driver',
      'overlay2',
    ];
    daemons.push(daemon('nsenter', [`--net=/run/netns/${n.netns}`, 'dockerd', ...args], join(n.dir, 'log')));
  }
  const docker = (n, ...args) => sh('docker', ['-H', `unix://${n.socket}`, ...args]);

  async function stop() {
    for (const n of nodes) {
      try {
        docker(n, 'swarm', 'leave', '--force');
      } catch {
        // It goes down with the rest.
      }
    }
    for (const d of daemons) await d.stop();
    for (const line of readFileSync('/proc/mounts', 'utf8').split('\n').toReversed()) {
      const path = line.split(' ')[1];
      if (path?.startsWith(`${dir}/`)) sh('umount', ['-l', path]);
    }
    for (const name of [...nodes.map((n) => n.netns), LAN]) if (existsSync(`/run/netns/${name}`)) sh('ip', ['netns', 'del', name]);
    rmSync(dir, { recursive: true, force: true });
  }

  try {
    for (const n of nodes) await until(30_000, 100, () => docker(n, 'info', '--format', '{{.ServerVersion}}').trim());
    docker(nodes[0], 'swarm', 'init', '--advertise-addr', nodes[0].address);
    const token = docker(nodes[0], 'swarm', 'join-token', '-q', 'worker').trim();
    docker(nodes[1], 'swarm', 'join', '--token', token, `${nodes[0].address}:2377`);
    for (const n of nodes) docker(n, 'load', '-i', imageArchive);
    docker(nodes[0], 'network', 'create', '-d', 'overlay', '--attachable', 'bench');
  } catch (error) {
    await stop();
    throw error;
  }
  let round = 0;
  return {
    async up(image, replicas) {
      const service = `s${round++}`;
      const start = performance.now();
      // dnsrr: the kernel may lack ip_vs, which Swarm's own virtual addresses need.
      docker(
        nodes[0],
        'service',
        'create',
        '-d',
        '--name',
        service,
        '--no-resolve-image',
        '--network',
        'bench',
        '--endpoint-mode',
        'dnsrr',
        '--replicas',
        String(replicas),
        image,
      );
      await until(60_000, 20, () =>
        docker(nodes[0], 'service', 'ls', '--filter', `name=${service}`, '--format', '{{.Replicas}}')
          .trim()
          .startsWith(`${replicas}/${replicas}`),
      );
      const container = docker(nodes[0], 'ps', '-q', '--filter', `name=${service}`).trim().split('\n')[0];
      await until(
        60_000,
        20,
        () => docker(nodes[0], 'exec', container, 'nslookup', `tasks.${service}`).match(/Address: \d/g)?.length >= replicas,
      );
      const took = performance.now() - start;
      docker(nodes[0], 'service', 'rm', service);
      await until(60_000, 200, () => nodes.every((n) => docker(n, 'ps', '-aq').trim() === ''));
      return took;
    },
    stop,
  };
}
