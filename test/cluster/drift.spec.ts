/** Somebody changes the network of a node behind the agent's back: it is found, put right within 5 s, counted and told. */
import { jest } from '@jest/globals';
import { eventually, pause, TestCluster, type TaskLine } from './cluster.js';

jest.setTimeout(120_000);

const STACK = `
services:
  web:
    image: weft-demo:latest
    command: [busybox, httpd, -f, -p, "80"]
    deploy: { replicas: 2 }
    ports: ["18085:80"]
  probe:
    image: weft-demo:latest
    command: [busybox, sleep, "100000"]
`;
/** What the issue allows, from the change to the repair. */
const LIMIT_MS = 5_000;

interface InspectedNode {
  facts: { driftRepairs?: number; repairs?: { at: string | number; what: string }[] };
}

describe('drift', () => {
  const cluster = new TestCluster('dr');
  let here: TaskLine;
  let far: TaskLine;
  let vni: string;
  const times: string[] = [];

  beforeAll(async () => {
    await cluster.up(2);
    await cluster.ctl('up', '-f', cluster.write('stack.yaml', STACK), '-p', 'drift');
    const tasks = await cluster.tasks('drift');
    const node = tasks.find((t) => t.service === 'probe')?.node;
    here = tasks.find((t) => t.service === 'probe') as TaskLine;
    far = tasks.find((t) => t.service === 'web' && t.node !== node) as TaskLine;
    const links = JSON.parse(on('ip', '-j', 'link').stdout) as { ifname: string }[];
    vni = links.find((l) => l.ifname.startsWith('wfb'))?.ifname.slice(3) ?? '';
  }, 120_000);
  afterAll(async () => {
    process.stdout.write(`drift repaired after: ${times.join(', ')}\n`);
    await cluster.down();
  });

  const on = (...argv: string[]) => cluster.onNode(here.node, ...argv);
  const addressOf = (task: TaskLine): string => Object.values(task.addresses)[0] ?? '';
  const inspect = async (): Promise<InspectedNode> =>
    (JSON.parse(await cluster.ctl('node', 'inspect', here.node)) as InspectedNode[])[0] as InspectedNode;
  const bridge = () => `wfb${vni}`;
  const vxlan = () => `wfx${vni}`;
  const macOf = (address: string) =>
    `02:42:${address
      .split('.')
      .map((n) => Number(n).toString(16).padStart(2, '0'))
      .join(':')}`;
  const reads = (...argv: string[]) => on(...argv).stdout;

  const veth = () =>
    (JSON.parse(on('ip', '-j', 'link').stdout) as { ifname: string }[]).find((l) => l.ifname.startsWith('wfv'))?.ifname ?? '';

  /** What is broken, how, how one sees that it is right, and what is said of it. */
  interface Attack {
    name: string;
    break_: () => void;
    isRight: () => boolean;
    told: () => RegExp;
  }
  const must = (...argv: string[]) => {
    const { code, stderr } = on(...argv);
    if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
  };
  const ruleCount = () => reads('nft', 'list', 'table', 'inet', 'weft').split('\n').length;
  let rules = 0;
  let target = '';
  const attacks: Attack[] = [
    {
      name: 'a route',
      break_: () => must('ip', 'route', 'flush', 'dev', bridge(), 'proto', '119'),
      isRight: () => reads('ip', 'route', 'show', 'dev', bridge(), 'proto', '119').trim() !== '',
      told: () => /^route .* was missing/,
    },
    {
      name: 'a neighbour',
      break_: () => must('ip', 'neigh', 'del', addressOf(far), 'dev', bridge()),
      isRight: () => reads('ip', 'neigh', 'show', addressOf(far), 'dev', bridge(), 'nud', 'permanent').includes(macOf(addressOf(far))),
      told: () => new RegExp(`^neighbour ${addressOf(far)} .* was missing`),
    },
    {
      name: 'a row of the tunnel',
      break_: () => must('bridge', 'fdb', 'del', macOf(addressOf(far)), 'dev', vxlan(), 'self'),
      isRight: () => new RegExp(`${macOf(addressOf(far))} .*dst`).test(reads('bridge', 'fdb', 'show', 'dev', vxlan())),
      told: () => new RegExp(`^fdb ${macOf(addressOf(far))} on ${vxlan()} .* was missing`),
    },
    {
      name: 'a row of the bridge',
      break_: () => must('bridge', 'fdb', 'del', macOf(addressOf(far)), 'dev', vxlan(), 'master'),
      isRight: () => new RegExp(`${macOf(addressOf(far))} .*master`).test(reads('bridge', 'fdb', 'show', 'dev', vxlan())),
      told: () => new RegExp(`^fdb ${macOf(addressOf(far))} behind port ${vxlan()} was missing`),
    },
    {
      name: 'an nft rule',
      break_: () => {
        rules = ruleCount();
        const handle = /# handle (\d+)/.exec(
          reads('nft', '-a', 'list', 'chain', 'inet', 'weft', 'vxlan_guard')
            .split('\n')
            .find((l) => /(accept|drop|notrack|return).*# handle/.test(l)) ?? '',
        )?.[1];
        must('nft', 'delete', 'rule', 'inet', 'weft', 'vxlan_guard', 'handle', handle ?? 'none');
        if (ruleCount() === rules) throw new Error('the rule is still there');
      },
      isRight: () => ruleCount() === rules,
      told: () => /^nft table inet weft was changed/,
    },
    {
      name: 'an element of an nft set',
      break_: () => {
        const set = /set (\S+) \{[^}]*?elements = \{ ([\d.]+)/.exec(reads('nft', 'list', 'table', 'inet', 'weft'));
        target = `${set?.[1]} ${set?.[2]}`;
        must('nft', 'delete', 'element', 'inet', 'weft', set?.[1] ?? 'none', `{ ${set?.[2]} }`);
      },
      isRight: () => reads('nft', 'list', 'set', 'inet', 'weft', target.split(' ')[0] ?? '').includes(target.split(' ')[1] ?? 'none'),
      told: () => /^nft table inet weft was changed/,
    },
    {
      name: 'a virtual address in a task',
      break_: () => {
        const { code, stderr } = cluster.inTask(here.id, 'nft', 'flush', 'map', 'ip', 'weft', 'vips');
        if (code !== 0) throw new Error(stderr);
      },
      isRight: () => /vips \{[^}]*elements/.test(cluster.inTask(here.id, 'nft', 'list', 'map', 'ip', 'weft', 'vips').stdout),
      told: () => /of ip weft.* was missing|^nft table ip weft in weft-\S+ was changed/,
    },
    {
      name: 'the default route of a task',
      break_: () => {
        const { code, stderr } = cluster.inTask(here.id, 'ip', 'route', 'del', 'default');
        if (code !== 0) throw new Error(stderr);
      },
      isRight: () => cluster.inTask(here.id, 'ip', 'route', 'show', 'default').stdout.includes('eth0'),
      told: () => /^route default .* in weft-\S+ was missing/,
    },
    {
      name: 'a veth',
      break_: () => {
        target = veth();
        must('ip', 'link', 'del', target);
      },
      isRight: () => reads('ip', '-o', 'link', 'show', 'master', bridge(), 'up').includes(target),
      told: () => /^veth wfv\w+ .* was missing/,
    },
    {
      name: 'the VXLAN device',
      break_: () => must('ip', 'link', 'del', vxlan()),
      isRight: () => reads('ip', '-o', 'link', 'show', 'master', bridge(), 'up').includes(vxlan()),
      told: () => /^vxlan wfx\d+ .* was missing/,
    },
    {
      name: 'the whole bridge',
      break_: () => must('ip', 'link', 'del', bridge()),
      isRight: () => reads('ip', '-o', 'link', 'show', 'master', bridge(), 'up').includes(vxlan()),
      told: () => /^bridge wfb\d+ .* was missing/,
    },
  ];

  const pings = () => cluster.inTask(here.id, 'ping', '-nq', '-c', '1', '-W', '1', addressOf(far)).code === 0;

  it.each(attacks.map((a) => [a.name, a] as const))('of %s is put right in time, counted and told', async (name, attack) => {
    const before = await inspect();
    attack.break_();
    const began = Date.now();
    expect(attack.isRight()).toBe(false);
    while (!attack.isRight() && Date.now() - began < 5 * LIMIT_MS) await pause(20);
    const tookMs = Date.now() - began;
    times.push(`${name} ${tookMs} ms`);
    expect(tookMs).toBeLessThan(LIMIT_MS);
    await eventually(10_000, () => {
      if (!pings()) throw new Error(`no way from ${here.name} to ${far.name}\n${cluster.logs()}`);
    });
    await eventually(10_000, async () => {
      const { facts } = await inspect();
      expect(facts.driftRepairs ?? 0).toBeGreaterThan(before.facts.driftRepairs ?? 0);
      expect((facts.repairs ?? []).map((r) => r.what)).toContainEqual(expect.stringMatching(attack.told()));
    });
    expect(cluster.logs(400)).toMatch(/somebody changed \d+ thing\(s\) in the kernel/);
  });

  it('is none where the stack itself changes', async () => {
    const before = (await inspect()).facts.driftRepairs ?? 0;
    for (const replicas of [4, 1]) {
      await cluster.ctl('up', '-f', cluster.write('stack.yaml', STACK.replace('replicas: 2', `replicas: ${replicas}`)), '-p', 'drift');
      await pause(3_000);
    }
    expect((await inspect()).facts.driftRepairs ?? 0).toBe(before);
  });
});
