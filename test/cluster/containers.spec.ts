/** What a Compose file says of a container is so in the container; and what goes wrong in one is told where a person looks. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { makeBusyboxArchive } from '../contract/runtime/busybox-archive.js';
import { eventually, readQuietly, TestCluster, type TaskLine } from './cluster.js';

interface PsLine extends TaskLine {
  health: string | null;
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
  # Not there, and cannot be made.
  nobind: { image: weft-demo, volumes: ['/proc/does/not/exist:/x'] }
  memory:
    image: weft-demo
    command: [sh, -c, 'head -c 200m /dev/zero | tail']
    deploy: { resources: { limits: { memory: 20M } } }
`;

const RUN = `
name: run
services:
  db:
    image: weft-demo
    command: [sh, -c, 'sleep 1; touch /tmp/ok; exec sleep 1000']
    healthcheck: { test: [CMD, test, -f, /tmp/ok], interval: 500ms, start_interval: 200ms, start_period: 60s }
    stop_grace_period: 1s
  web:
    image: weft-demo
    command: [sleep, '1000']
    environment: { A: one }
    stop_grace_period: 1s
    depends_on: { db: { condition: service_healthy } }
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
      /crash-nobind-1 on node\d: failed: node node\d has no \/proc\/does\/not\/exist to mount/,
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

  it('are restarted as often as their policy allows; a run as long as its window begins the count anew', async () => {
    const policy = (window: string) =>
      `{ image: weft-demo, command: [sh, -c, 'sleep 0.3; exit 3'], deploy: { restart_policy: { condition: on-failure, max_attempts: 2${window} } } }`;
    cluster.write('policy.yaml', `name: policy\nservices:\n  short: ${policy('')}\n  long: ${policy(', window: 200ms')}\n`);
    await cluster.ctl('up', '-d', '-f', 'policy.yaml');
    const of = async (service: string) => (await tasks('policy')).find((t) => t.service === service);
    await eventually(30_000, async () => {
      expect(await of('short')).toMatchObject({
        state: 'failed',
        restarts: 2,
        exitCode: 3,
        message: expect.stringContaining('given up after 2 restarts'),
      });
      expect((await of('long'))?.restarts).toBeGreaterThan(2);
    });
    // That is for good, while the other goes on.
    const restarts = (await of('long'))?.restarts ?? 0;
    await eventually(30_000, async () => expect((await of('long'))?.restarts).toBeGreaterThan(restarts));
    expect(await of('short')).toMatchObject({ state: 'failed', restarts: 2 });
    await cluster.ctl('down', '-p', 'policy');
  }, 90_000);

  it('are kept as the keys of their process, their limits and their log say', async () => {
    cluster.write(
      'process.yaml',
      `
name: process
services:
  box:
    image: weft-demo
    command: [sh, -c, 'echo started; seq 1 3000; tty; exec cat']
    init: true
    tty: true
    stdin_open: true
    stop_grace_period: 1s
    shm_size: 2m
    pids_limit: 60
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 80m
    cpu_shares: 300
    cpuset: '0'
    oom_score_adj: 111
    group_add: ['4711']
    ulimits: { nofile: { soft: 99, hard: 111 }, core: -1 }
    sysctls: { net.core.somaxconn: 77, net.ipv4.conf.default.rp_filter: 2, kernel.msgmax: 16384 }
    devices: ['/dev/full:/dev/mine:r']
    security_opt: ['no-new-privileges:true', 'seccomp:unconfined']
    annotations: { org.example.note: ours }
    logging: { driver: json-file, options: { max-size: 4k, max-file: '2' } }
  quiet:
    image: weft-demo
    container_name: Still-water
    command: [sh, -c, 'echo unheard; exec sleep 1000']
    stop_grace_period: 0s
    logging: { driver: none }
  strong:
    image: weft-demo
    command: [sleep, '1000']
    stop_grace_period: 0s
    user: root
    privileged: true
    uts: host
`,
    );
    await cluster.ctl('up', '-f', 'process.yaml');
    const box = (await tasks('process')).find((t) => t.service === 'box');
    const look = [
      'tr "\\0" " " </proc/1/cmdline | cut -c 1-24',
      'df -k /dev/shm | tail -n 1 | tr -s " " | cut -d" " -f2',
      'cat /proc/1/oom_score_adj',
      'id -G',
      'grep "open files" /proc/1/limits | tr -s " " | cut -d" " -f4,5',
      'cat /proc/sys/net/core/somaxconn /proc/sys/net/ipv4/conf/eth0/rp_filter /proc/sys/kernel/msgmax',
      'stat -c %t:%T /dev/mine',
      'grep -E "NoNewPrivs|Seccomp:" /proc/1/status | cut -f2',
    ];
    expect((await inside('process', 'box', look.join('; '))).split('\n').slice(0, -1)).toEqual([
      '/sbin/docker-init -- sh ',
      '2048',
      '111',
      expect.stringContaining('4711'),
      '99 111',
      '77',
      '2',
      '16384',
      '1:7',
      '1',
      '0',
    ]);
    const group = `weft/weft-${cluster.name}-${box?.node}/${box?.id}`;
    const limit = (v1: string, v2: string): string =>
      (readQuietly(`/sys/fs/cgroup/${v1.replace('@', group)}`) || readQuietly(`/sys/fs/cgroup/${group}/${v2}`)).trim();
    expect(limit('memory/@/memory.soft_limit_in_bytes', 'memory.low')).toBe(String(32 * 1024 * 1024));
    expect(limit('pids/@/pids.max', 'pids.max')).toBe('60');
    expect(limit('cpuset/@/cpuset.cpus', 'cpuset.cpus')).toBe('0');
    // The terminal is one, its input stays open, and of the log the last two files of 4 KiB are kept.
    const log = await cluster.ctl('logs', '-p', 'process', '--no-log-prefix', 'box');
    expect(log).toMatch(/3000\r?\n\/dev\/pts\/0\r?\n$/);
    expect(log).not.toContain('started');
    expect(box?.state).toBe('running');
    expect((await tasks('process')).find((t) => t.service === 'quiet')?.name).toBe('Still-water');
    expect(await inside('process', 'quiet', 'hostname')).toBe('Still-water\n');
    expect(await inside('process', 'box', 'getent hosts still-water >/dev/null || nslookup still-water >/dev/null && echo found')).toBe(
      'found\n',
    );
    expect(await cluster.ctl('logs', '-p', 'process', '--no-log-prefix', 'quiet')).toMatch(
      /^~ --- nothing that this container prints is kept: .*---\n$/,
    );
    const own = (/^CapBnd:\s*(\S+)$/m.exec(readQuietly('/proc/self/status')) ?? [])[1];
    expect(await inside('process', 'strong', 'grep CapEff /proc/self/status | cut -f2; hostname')).toBe(`${own}\n${hostname()}\n`);
    // The settings of the network are kept like the rest of it.
    cluster.inTask(box?.id ?? '', 'sysctl', '-qw', 'net.core.somaxconn=5');
    await eventually(20_000, async () => expect(await inside('process', 'box', 'cat /proc/sys/net/core/somaxconn')).toBe('77\n'));
    await cluster.ctl('down', '-p', 'process');
  }, 120_000);

  it('run their hooks after the start and before the stop, and are checked as their image says', async () => {
    const config = { Healthcheck: { Test: ['CMD-SHELL', 'test -f /tmp/warm'], Interval: 300_000_000, Retries: 3 } };
    const archive = join(cluster.dir, 'healthy.tar');
    writeFileSync(archive, await makeBusyboxArchive({ name: 'healthy:1', format: 'docker', config }));
    await cluster.ctl('image', 'load', archive);
    const file = (hook: string) =>
      cluster.write(
        'hooks.yaml',
        `
name: hooks
services:
  box:
    image: healthy:1
    command: [sh, -c, 'trap "exit 0" TERM; while :; do usleep 50000; done']
    stop_grace_period: 5s
    volumes: ['${join(cluster.dir, 'host')}:/host']
    post_start:
      - { command: [sh, -c, 'echo "$$A $$(id -u) $$(pwd)" > /host/started'], user: '7', working_dir: /tmp, environment: { A: one } }
      - { command: ${hook} }
    pre_stop:
      - { command: [sh, -c, 'echo stopping > /host/stopping'] }
`,
      );
    chmodSync(join(cluster.dir, 'host'), 0o777);
    file('[sh, -c, "touch /tmp/warm; echo warmed >&2"]');
    await cluster.ctl('up', '-f', 'hooks.yaml');
    await eventually(20_000, async () => expect(await cluster.ctl('logs', '-p', 'hooks', 'box')).toContain('[post_start] warmed'));
    expect(readQuietly(join(cluster.dir, 'host', 'started'))).toBe('one 7 /tmp\n');
    await eventually(20_000, async () => expect((await tasks('hooks'))[0]).toMatchObject({ state: 'running', health: 'healthy' }));
    expect(readQuietly(join(cluster.dir, 'host', 'stopping'))).toBe('');
    file('[sh, -c, "echo no luck >&2; exit 3"]');
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'hooks.yaml', '--timeout', '20']);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/the post_start hook .* exited with code 3: no luck/),
    });
    expect(readQuietly(join(cluster.dir, 'host', 'stopping'))).toBe('stopping\n');
    await cluster.ctl('down', '-p', 'hooks');
  }, 120_000);

  it('that ask for what a node does not have say so', async () => {
    cluster.write(
      'lacks.yaml',
      `
name: lacks
services:
  device: { image: weft-demo, devices: [/dev/no-such-thing] }
  setting: { image: weft-demo, sysctls: { net.ipv4.no_such_setting: 1 } }
  cpus: { image: weft-demo, cpuset: '4000' }
  profile: { image: weft-demo, security_opt: ['apparmor:no-such-profile'] }
`,
    );
    const { code, stderr } = await cluster.tryCtl(['up', '-f', 'lacks.yaml', '--timeout', '20']);
    expect(code).toBe(1);
    for (const words of [
      /lacks-device-1 on node\d: failed: this node has no device \/dev\/no-such-thing/,
      /lacks-setting-1 on node\d: failed: .*no_such_setting/,
      /lacks-cpus-1 on node\d: failed: .*cpuset/,
      /lacks-profile-1 on node\d: failed: .*appar/,
    ])
      expect(stderr).toMatch(words);
    await cluster.ctl('down', '-p', 'lacks');
  }, 120_000);

  it('of ctl run: in order, beside their service, attached to the end, with its exit code', async () => {
    cluster.write('run.yaml', RUN);
    const run = (args: string[], input = '') => cluster.tryCtl(['run', '-f', 'run.yaml', ...args], { input });
    const first = await run(
      ['--rm', '-e', 'B=two', 'web', 'sh', '-c', 'echo "$A $B"; echo err >&2; nslookup db >/dev/null && cat; exit 5'],
      'typed\n',
    );
    expect(first).toMatchObject({ code: 5, stdout: 'one two\ntyped\n' });
    expect(first.stderr).toContain('err\n');
    // What it depends on came first; neither its service nor the one-off is there.
    await eventually(30_000, async () => expect((await tasks('run')).map((t) => t.name)).toEqual(['run-db-1']));
    const text = (await run(['--rm', '--no-deps', 'web', 'seq', '1', '100000'])).stdout;
    expect(text).toBe(Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join(''));
    const wrong = await run(['--rm', '--no-deps', 'web', '/no/such/program']);
    expect(wrong.code).toBe(127);
    expect(wrong.stderr).toContain('it could not be started');
    expect((await run(['--rm', '--no-deps', 'web', '/etc/passwd'])).code).toBe(126);

    await cluster.ctl('up', '-f', 'run.yaml');
    await cluster.ctl('run', '-d', '-f', 'run.yaml', '--name', 'run-own', 'web', 'sleep', '1000');
    const names = await inside('run', 'db', 'nslookup web; nslookup tasks.web');
    const own = (await tasks('run')).find((t) => t.name === 'run-own');
    expect(own?.state).toBe('running');
    const [address = ''] = /10(\.\d+){3}/.exec(JSON.stringify(own?.addresses)) ?? [];
    expect(address).not.toBe('');
    expect(names).not.toContain(`${address}\n`);
    expect((await cluster.tryCtl(['up', '-f', 'run.yaml', '--remove-orphans'])).stderr).toContain('nothing to change');

    const script = 'trap "echo caught; exit 9" INT; echo begun; while :; do sleep 0.1; done';
    const caught = cluster.startCtl(['run', '-f', 'run.yaml', '--rm', 'web', 'sh', '-c', script]);
    await eventually(30_000, () => expect(caught.said()).toContain('begun\n'));
    expect(await caught.end('SIGINT')).toBe(9);
    expect(caught.said()).toContain('caught\n');

    // Whoever loses its caller goes on, and can be taken up again.
    const lost = cluster.startCtl([
      'run',
      '-f',
      'run.yaml',
      '--name',
      'run-lost',
      'web',
      'sh',
      '-c',
      'echo begun; while ! test -e /tmp/end; do echo tick; sleep 0.1; done; echo ended; exit 4',
    ]);
    await eventually(30_000, () => expect(lost.said()).toContain('begun\n'));
    await lost.end('SIGKILL');
    const again = cluster.startCtl(['attach', '-p', 'run', 'run-lost']);
    await eventually(30_000, () => expect(again.said()).toContain('tick\n'));
    const lostTask = (await tasks('run')).find((t) => t.name === 'run-lost');
    await cluster.ctl('exec', '-T', '-p', 'run', lostTask?.service ?? '', 'touch', '/tmp/end');
    await eventually(30_000, () => expect(again.said()).toContain('ended\n'));
    // By itself: a signal now could come while it is on its way out.
    expect(await again.ended).toBe(4);
    await cluster.ctl('down', '-p', 'run');
  }, 180_000);

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
    const kept = await cluster.tryCtl(['up', '-f', 'scale.yaml']);
    expect(kept).toMatchObject({ code: 0, stderr: expect.stringContaining('--remove-orphans') });
    expect(await ids('b')).toHaveLength(1);
    await cluster.ctl('up', '-f', 'scale.yaml', '--remove-orphans');
    expect(await ids('b')).toEqual([]);
    expect(await ids('a')).toEqual(second);
    expect((await cluster.json<{ name: string }[]>('network', 'ls')).map((n) => n.name)).toEqual(['scale_default']);
    await cluster.ctl('down', '-p', 'scale');
  }, 180_000);
});
