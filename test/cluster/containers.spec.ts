/** What a Compose file says of a container is so in the container; and what goes wrong in one is told where a person looks. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, readQuietly, TestCluster, type TaskLine } from './cluster.js';

interface PsLine extends TaskLine {
  message: string;
  restarts: number;
  exitCode: number | null;
}

const CRASH = `
name: crash
services:
  exits: { image: weft-demo, command: [sh, -c, 'exit 7'] }
  nocmd: { image: weft-demo, command: [/no/such/program] }
  nouser: { image: weft-demo, user: nobodyhere }
  nobind: { image: weft-demo, volumes: ['/does/not/exist:/x'] }
  memory:
    image: weft-demo
    command: [sh, -c, 'head -c 200m /dev/zero | tail']
    deploy: { resources: { limits: { memory: 20M } } }
`;

describe('containers', () => {
  const cluster = new TestCluster('box');
  const tasks = (stack: string) => cluster.json<PsLine[]>('ps', '-p', stack);
  const inside = (stack: string, service: string, script: string) => cluster.ctl('exec', '-T', '-p', stack, service, 'sh', '-c', script);

  beforeAll(async () => {
    await cluster.up(2);
    mkdirSync(join(cluster.dir, 'host'));
    writeFileSync(join(cluster.dir, 'host', 'file'), 'of the host\n');
    cluster.write('crash.yaml', CRASH);
  }, 240_000);
  afterAll(() => cluster.down(), 120_000);

  it('are made as the file says', async () => {
    cluster.write(
      'keys.yaml',
      `
name: keys
services:
  box:
    image: weft-demo
    entrypoint: [/bin/sh, -c]
    command: ['echo "$$0 $$A $$B"; exec sleep 1000', zero]
    environment: { A: '1', B: two words }
    user: '1234:4321'
    working_dir: /work/dir
    hostname: myhost
    stop_grace_period: 1s
    read_only: true
    cap_drop: [CHOWN]
    tmpfs: ['/scratch:size=1m,mode=700']
    volumes:
      - ${join(cluster.dir, 'host')}:/host:ro
      - { type: tmpfs, target: /small, tmpfs: { size: 65536 } }
    deploy: { resources: { limits: { cpus: '0.5', memory: 64M, pids: 50 } } }
`,
    );
    await cluster.ctl('up', '-f', 'keys.yaml');
    const [task] = await tasks('keys');
    expect(await cluster.ctl('logs', '-p', 'keys', '--no-log-prefix')).toBe('zero 1 two words\n');
    expect(await inside('keys', 'box', 'id -u; id -g; pwd; hostname; cat /host/file')).toBe('1234\n4321\n/work/dir\nmyhost\nof the host\n');
    expect(await inside('keys', 'box', 'touch /x /host/x 2>&1 || true')).toBe(
      'touch: /x: Read-only file system\ntouch: /host/x: Read-only file system\n',
    );
    expect(await inside('keys', 'box', 'stat -c "%a %F" /scratch; df -k /scratch /small | tail -n 2 | tr -s " " | cut -d" " -f2')).toBe(
      '700 directory\n1024\n64\n',
    );
    const bounding = parseInt((await inside('keys', 'box', 'grep CapBnd /proc/self/status | cut -f2')).trim(), 16);
    // capabilities(7): CAP_CHOWN is 0, CAP_DAC_OVERRIDE is 1.
    expect(bounding & 0b11).toBe(0b10);
    const group = `weft/weft-${cluster.name}-${task?.node}/${task?.id}`;
    const limit = (v1: string, v2: string): string =>
      (readQuietly(`/sys/fs/cgroup/${v1.replace('@', group)}`) || readQuietly(`/sys/fs/cgroup/${group}/${v2}`)).trim();
    expect(limit('memory/@/memory.limit_in_bytes', 'memory.max')).toBe(String(64 * 1024 * 1024));
    expect(limit('pids/@/pids.max', 'pids.max')).toBe('50');
    await cluster.ctl('down', '-p', 'keys');
  }, 120_000);

  it('that are not root write to new named volumes whose place the image gives to them, and find what they wrote', async () => {
    cluster.write(
      'volume.yaml',
      `
name: volume
services:
  box:
    image: weft-demo
    command: [sh, -c, 'echo written >> /data/file; exec sleep 1000']
    stop_grace_period: 1s
    volumes: ['kept:/data']
volumes: { kept: {} }
`,
    );
    await cluster.ctl('up', '-f', 'volume.yaml');
    expect(await inside('volume', 'box', 'stat -c "%u %g" /data /data/file; cat /data/file')).toBe('1000 1000\n1000 1000\nwritten\n');
    const [task] = await tasks('volume');
    process.kill(cluster.pidOf(task?.id ?? ''), 'SIGKILL');
    await eventually(20_000, async () => expect(await inside('volume', 'box', 'cat /data/file')).toBe('written\nwritten\n'));
    await cluster.ctl('down', '-p', 'volume');
  }, 120_000);

  it('that cannot run, or end again and again, say why where one looks', async () => {
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'crash.yaml', '--timeout', '30']);
    expect(code).toBe(1);
    for (const words of [
      /crash-exits-1 on node\d: restarting: exited with code 7/,
      /crash-nocmd-1 on node\d: failed: .*\/no\/such\/program/,
      /crash-nouser-1 on node\d: failed: no user "nobodyhere" in the container/,
      /crash-nobind-1 on node\d: failed: node node\d has no \/does\/not\/exist to mount/,
      /crash-memory-1 on node\d: restarting: ran out of memory/,
    ])
      expect(stderr).toMatch(words);
    expect(stderr).not.toMatch(/\n\s+at /);
    const refused = await cluster.tryCtl(['exec', '-T', '-p', 'crash', 'nocmd', 'true']);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/^error: cannot run anything in .+\nwhy: .+\nhint: .+\n$/) });
    await eventually(20_000, async () => {
      const exits = (await tasks('crash')).find((t) => t.service === 'exits');
      expect(exits).toMatchObject({
        state: 'restarting',
        exitCode: 7,
        message: expect.stringMatching(/^exited with code 7; restarting in \d/),
      });
      expect(exits?.restarts).toBeGreaterThan(1);
    });
    await cluster.ctl('down', '-p', 'crash');
  }, 120_000);

  it('stay as they are when their service is scaled, and are replaced when it changes; what left the file goes', async () => {
    const file = (replicas: number, environment: string, more = '') =>
      cluster.write(
        'scale.yaml',
        `name: scale\nservices:\n  a: { image: weft-demo, environment: { X: ${environment} }, deploy: { replicas: ${replicas} } }\n${more}`,
      );
    const ids = async (service: string) => (await tasks('scale')).filter((t) => t.service === service).map((t) => t.id);
    file(3, 'one', '  b: { image: weft-demo, networks: [side] }\nnetworks: { side: {} }\n');
    await cluster.ctl('up', '-f', 'scale.yaml');
    const first = await ids('a');
    const b = await ids('b');
    file(5, 'one', '  b: { image: weft-demo, networks: [side] }\nnetworks: { side: {} }\n');
    await cluster.ctl('up', '-f', 'scale.yaml');
    expect((await ids('a')).slice(0, 3)).toEqual(first);
    file(2, 'one', '  b: { image: weft-demo, networks: [side] }\nnetworks: { side: {} }\n');
    await cluster.ctl('up', '-f', 'scale.yaml');
    expect(await ids('a')).toEqual(first.slice(0, 2));
    file(2, 'two', '  b: { image: weft-demo, networks: [side] }\nnetworks: { side: {} }\n');
    await cluster.ctl('up', '-f', 'scale.yaml');
    const second = await ids('a');
    expect(second).toHaveLength(2);
    expect(first).not.toEqual(expect.arrayContaining([second[0]]));
    expect(await ids('b')).toEqual(b);
    expect(await inside('scale', 'a', 'echo $X')).toBe('two\n');
    file(2, 'two');
    await cluster.ctl('up', '-f', 'scale.yaml');
    expect(await ids('b')).toEqual([]);
    expect(await ids('a')).toEqual(second);
    expect((await cluster.json<{ name: string }[]>('network', 'ls')).map((n) => n.name)).toEqual(['scale_default']);
    await cluster.ctl('down', '-p', 'scale');
  }, 180_000);
});
