/** `ctl network trace` and `ctl network doctor`: on a whole network, and on one that somebody broke between the nodes. */
import { jest } from '@jest/globals';
import { eventually, TestCluster, type TaskLine } from './cluster.js';

jest.setTimeout(120_000);

const STACK = `
services:
  web:
    image: weft-demo:latest
    command: [busybox, httpd, -f, -p, "80"]
    deploy: { replicas: 2 }
  probe:
    image: weft-demo:latest
    command: [busybox, sleep, "100000"]
`;

interface Trace {
  ok: boolean;
  verdict: string;
  remedy: string;
  hops: { step: string; node: string; what: string; ok: boolean; faults: string[] }[];
}

describe('tracing', () => {
  const cluster = new TestCluster('tr');
  let probe: TaskLine;
  let far: TaskLine;

  beforeAll(async () => {
    await cluster.up(2);
    await cluster.ctl('up', '-f', cluster.write('stack.yaml', STACK), '-p', 'trace');
    const tasks = await cluster.tasks('trace');
    probe = tasks.find((t) => t.service === 'probe') as TaskLine;
    far = tasks.find((t) => t.service === 'web' && t.node !== probe.node) as TaskLine;
  }, 120_000);
  afterAll(() => cluster.down(), 60_000);

  const trace = async (from: string, to: string): Promise<Trace> => {
    const { stdout, stderr } = await cluster.tryCtl(['network', 'trace', '-p', 'trace', from, to, '--format', 'json']);
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout) as Trace;
  };
  const steps = ({ hops }: Trace) => hops.map((h) => h.step);
  it('walks from a task over the nodes to another, and each hop is as it should be', async () => {
    const found = await trace(probe.name, far.name);
    expect(found).toMatchObject({ ok: true, remedy: '' });
    expect(steps(found)).toEqual([
      ...['task', 'bridge', 'neighbour', 'fdb', 'vtep', 'remote vtep', 'remote bridge', 'veth', 'underlay', 'probe'],
    ]);
    expect(new Set(found.hops.map((h) => h.node))).toEqual(new Set([probe.node, far.node]));
  });

  it('resolves a name, goes by the virtual address, and connects', async () => {
    const found = await trace('probe', 'web:80');
    expect(found).toMatchObject({ ok: true });
    expect(steps(found).slice(0, 3)).toEqual(['name', 'task', 'vip']);
    expect(found.hops.at(-1)?.what).toMatch(/^TCP .*:80 answers/);
  });

  it('says that nobody listens, and that a name is unknown', async () => {
    expect((await trace('probe', 'web:81')).verdict).toMatch(/nobody listens/);
    expect((await trace('probe', 'nosuch')).verdict).toMatch(/nosuch has no address/);
    const { code, stdout } = await cluster.tryCtl(['network', 'trace', '-p', 'trace', 'probe', 'web:81']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/HOP +NODE +WHAT +STATE/);
  });

  it('finds nothing broken on a whole network', async () => {
    const { code, stdout, stderr } = await cluster.tryCtl(['network', 'doctor']);
    expect(stderr).toMatch(/2 of them through VXLAN/);
    // It may have notes on this machine.
    expect({ code, broken: stdout.split('\n').filter((line) => line.startsWith('broken')) }).toEqual({ code: 0, broken: [] });
  });

  it('tells a VXLAN port that a firewall closes, and where', async () => {
    const table = 'table inet foreign { chain c { type filter hook input priority -10; udp dport 4789 drop; }; }';
    expect(cluster.onNode(far.node, 'nft', table).code).toBe(0);
    try {
      const found = await trace(probe.name, far.name);
      expect(found.ok).toBe(false);
      expect(found.remedy).toMatch(/VXLAN port/);
      const { code, stdout } = await cluster.tryCtl(['network', 'doctor', '--format', 'json']);
      expect(code).toBe(1);
      const findings = JSON.parse(stdout) as { severity: string; node: string; code: string; remedy: string }[];
      expect(findings[0]?.severity).toBe('broken');
      expect(findings.filter((f) => f.code === 'vxlan').map((f) => f.node)).toContain(`${probe.node} → ${far.node}`);
      expect(findings.every((f) => f.remedy !== '')).toBe(true);
    } finally {
      cluster.onNode(far.node, 'nft', 'delete', 'table', 'inet', 'foreign');
    }
    await eventually(20_000, async () => expect((await trace(probe.name, far.name)).ok).toBe(true));
  });

  it('tells a path that carries smaller packets only', async () => {
    const table = 'table inet foreign { chain c { type filter hook input priority -10; meta length > 1300 drop; }; }';
    expect(cluster.onNode(far.node, 'nft', table).code).toBe(0);
    try {
      const { code, stdout } = await cluster.tryCtl(['network', 'doctor', '--format', 'json']);
      expect(code).toBe(1);
      expect((JSON.parse(stdout) as { code: string }[]).map((f) => f.code)).toContain('path-mtu');
    } finally {
      cluster.onNode(far.node, 'nft', 'delete', 'table', 'inet', 'foreign');
    }
  });
});
