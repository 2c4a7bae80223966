/** `ctl network trace` and `ctl network doctor`: on a whole network, and on one that somebody broke between the nodes. */
import { spawn } from 'node:child_process';
import { jest } from '@jest/globals';
import { eventually, pause, TestCluster, type TaskLine } from './cluster.js';

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

interface Finding {
  severity: string;
  node: string;
  code: string;
  what: string;
  remedy: string;
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

  it('names the hop where it breaks, while somebody keeps removing the row of the tunnel', async () => {
    const { hops } = await trace(probe.name, far.name);
    const row = hops.find((h) => h.step === 'fdb')?.what ?? '';
    const [, mac = '', vxlan = ''] = /^(\S+) is behind (\S+), at/.exec(row) ?? [];
    // The agent puts it right at once, so somebody insists.
    const again = `while :; do bridge fdb del ${mac} dev ${vxlan} self 2>/dev/null; sleep 0.02; done`;
    const netns = `--net=/run/netns/${cluster.netns(probe.node)}`;
    const somebody = spawn('nsenter', [netns, '--', 'sh', '-c', again], { stdio: 'ignore' });
    try {
      await eventually(30_000, async () => {
        const found = await trace(probe.name, far.name);
        expect(found.verdict).toMatch(new RegExp(`^It breaks at "fdb" on ${probe.node}: .*${mac}.* missing`));
        expect(found.remedy).toContain(`ctl node inspect ${probe.node}`);
        expect(found.hops.filter((h) => h.faults.length > 0).map((h) => h.step)).toContain('fdb');
      });
    } finally {
      somebody.kill('SIGKILL');
    }
    await eventually(20_000, async () => expect((await trace(probe.name, far.name)).ok).toBe(true));
  });

  it('tells what other tools on the hosts do, the worst first, each with a remedy', async () => {
    const filter = 'type filter hook forward priority 10';
    const tables = { foreign: `chain f { ${filter}; policy drop; }`, firewalld: `chain filter_FORWARD { ${filter}; }` };
    const strict = 'net.ipv4.conf.eth0.rp_filter';
    const before = cluster.onNode(probe.node, 'sysctl', '-n', strict).stdout.trim();
    for (const [name, chain] of Object.entries(tables))
      expect(cluster.onNode(far.node, 'nft', `table inet ${name} { ${chain}; }`)).toMatchObject({ code: 0 });
    try {
      expect(cluster.onNode(probe.node, 'sysctl', '-w', `${strict}=1`).code).toBe(0);
      expect(cluster.onNode(probe.node, 'ip', 'route', 'flush', 'proto', '119').code).toBe(0);
      // A node looks at itself every 10 s.
      await eventually(40_000, async () => {
        await pause(1_500);
        const { code, stdout } = await cluster.tryCtl(['network', 'doctor', '--format', 'json']);
        const findings = JSON.parse(stdout) as Finding[];
        const told = (node: string) => findings.filter((f) => f.node === node);
        expect(told(far.node)).toContainEqual(expect.objectContaining({ code: 'forward-drop', severity: 'broken' }));
        expect(told(far.node)).toContainEqual(
          expect.objectContaining({ code: 'firewalld', remedy: expect.stringContaining('--add-source=') }),
        );
        expect(told(probe.node)).toContainEqual(
          expect.objectContaining({ code: 'rp-filter', remedy: expect.stringContaining(`${strict}=2`) }),
        );
        expect(told(probe.node)).toContainEqual(
          expect.objectContaining({ code: 'drift', what: expect.stringMatching(/put back .*the last: route /) }),
        );
        const ranks = findings.map((f) => ['broken', 'risk', 'note'].indexOf(f.severity));
        expect(ranks).toEqual([...ranks].sort());
        expect(findings.filter((f) => f.remedy === '')).toEqual([]);
        expect(code).toBe(1);
      });
    } finally {
      for (const name of Object.keys(tables)) cluster.onNode(far.node, 'nft', 'delete', 'table', 'inet', name);
      cluster.onNode(probe.node, 'sysctl', '-w', `${strict}=${before}`);
    }
  });
});
