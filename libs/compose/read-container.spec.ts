import { parseCompose } from './parse-compose.js';
import { ComposeErrors } from './issue.js';
import { loadModel } from './load-model.js';
import { readStack } from './parse-compose.js';

const service = (...lines: string[]) => ['services:', '  web:', '    image: busybox', ...lines.map((l) => `    ${l}`)].join('\n');
const parse = (...lines: string[]) =>
  parseCompose({ text: service(...lines), file: 'c.yaml', env: {}, projectDirectory: '/p', projectName: 'p' }).stack.services['web'];
const container = (...lines: string[]) => parse(...lines)?.container;

function faults(...lines: string[]): string[] {
  try {
    parse(...lines);
  } catch (error) {
    if (error instanceof ComposeErrors) return error.issues.map((i) => `${i.line}:${i.column} ${i.message}`);
    throw error;
  }
  return [];
}

const MIB = 1024 * 1024;

describe('keys of a container', () => {
  it.each<[string, object]>([
    ['container_name: My_db.1', { containerName: 'My_db.1' }],
    ['platform: linux/arm64/v8', { platform: 'linux/arm64' }],
    ['init: true', { init: true }],
    ['tty: true', { tty: true }],
    ['stdin_open: true', { stdinOpen: true }],
    ['privileged: true', { privileged: true }],
    ['shm_size: 1g', { shmBytes: 1024 * MIB }],
    ['oom_score_adj: -500', { oomScoreAdj: -500 }],
    ['annotations: [org.example.a=b]', { annotations: { 'org.example.a': 'b' } }],
    ['group_add: [docker, 999]', { groups: ['docker', '999'] }],
    [
      'ulimits: { nofile: 1024, nproc: { soft: 10, hard: -1 } }',
      { ulimits: { nofile: { soft: 1024, hard: 1024 }, nproc: { soft: 10, hard: -1 } } },
    ],
    [
      'sysctls: [net.core.somaxconn=01024, "net/ipv4/tcp_rmem=4096  8192 16384"]',
      { sysctls: { 'net.core.somaxconn': '1024', 'net.ipv4.tcp_rmem': '4096 8192 16384' } },
    ],
    [
      'sysctls: { kernel.shmmax: 1073741824, fs.mqueue.msg_max: 50 }',
      { sysctls: { 'kernel.shmmax': '1073741824', 'fs.mqueue.msg_max': '50' } },
    ],
    ['ipc: host', { namespaces: { ipc: 'host' } }],
    ['ipc: none', { namespaces: { ipc: 'none' } }],
    ['pid: host', { namespaces: { pid: 'host' } }],
    ['uts: host', { namespaces: { uts: 'host' } }],
    ['cgroup: private', { namespaces: { cgroup: 'private' } }],
    ['runtime: io.containerd.runsc.v1', { runtime: 'io.containerd.runsc.v1' }],
    [
      'devices: ["/dev/ttyUSB0:/dev/modem:rw", /dev/fuse]',
      {
        devices: [
          { source: '/dev/ttyUSB0', target: '/dev/modem', permissions: 'rw' },
          { source: '/dev/fuse', target: '/dev/fuse', permissions: 'rwm' },
        ],
      },
    ],
    ['device_cgroup_rules: ["c 1:3  mr", "a *:* rwm"]', { deviceRules: ['c 1:3 mr', 'a *:* rwm'] }],
    ['cpus: 1.5', { limits: { nanoCpus: 1_500_000_000 } }],
    ['mem_limit: 64m', { limits: { memoryBytes: 64 * MIB } }],
    ['pids_limit: 100', { limits: { pids: 100 } }],
    ['cpu_shares: 512', { cgroup: { cpuShares: 512 } }],
    ['cpu_quota: 50000', { cgroup: { cpuQuotaUs: 50_000 } }],
    ['cpu_period: 20ms', { cgroup: { cpuPeriodUs: 20_000 } }],
    ['cpu_rt_runtime: 95000', { cgroup: { cpuRtRuntimeUs: 95_000 } }],
    ['cpu_rt_period: 1s', { cgroup: { cpuRtPeriodUs: 1_000_000 } }],
    ['cpuset: 0-2,4', { cgroup: { cpuset: '0-2,4' } }],
    ['memswap_limit: -1', { cgroup: { memorySwapBytes: -1 } }],
    ['mem_swappiness: 10', { cgroup: { memorySwappiness: 10 } }],
    ['oom_kill_disable: true', { cgroup: { oomKillDisable: true } }],
    ['cgroup_parent: /batch/low', { cgroup: { parent: '/batch/low' } }],
    [
      'blkio_config: { weight: 300, device_write_bps: [{ path: /dev/sda, rate: 1mb }] }',
      {
        cgroup: { blockIo: { weight: 300, writeBps: [{ path: '/dev/sda', rate: MIB }] } },
      },
    ],
    [
      'security_opt: ["no-new-privileges:true", "apparmor=mine", seccomp:unconfined, systempaths=unconfined, label:disable]',
      {
        security: { noNewPrivileges: true, apparmor: 'mine', seccomp: 'unconfined', allPaths: true },
      },
    ],
    ['security_opt: [no-new-privileges]', { security: { noNewPrivileges: true } }],
    ['logging: { driver: json-file, options: { max-size: 10m, max-file: "3" } }', { logging: { maxBytes: 10 * MIB, maxFiles: 3 } }],
    ['logging: { options: { max-size: 5m } }', { logging: { maxBytes: 5 * MIB, maxFiles: 1 } }],
    ['logging: { driver: local, options: { max-size: 5m } }', { logging: { maxBytes: 5 * MIB, maxFiles: 5 } }],
    ['logging: { driver: none }', { logging: { none: true } }],
    [
      'post_start: [{ command: ./warm up, user: root, privileged: true, working_dir: /app, environment: [A=1] }]',
      {
        postStart: [{ command: ['./warm', 'up'], user: 'root', privileged: true, workingDir: '/app', environment: { A: '1' } }],
      },
    ],
    ['pre_stop: [{ command: [sleep, 1] }]', { preStop: [{ command: ['sleep', '1'] }] }],
  ])('%s', (line, expected) => {
    expect(container(line)).toMatchObject(expected);
  });

  it.each([
    'pids_limit: -1',
    'attach: false',
    'attach: true',
    'cpu_quota: -1',
    'cpu_shares: 0',
    'mem_limit: 0',
    'ipc: private',
    'ipc: shareable',
    'userns_mode: host',
    'runtime: runc',
    'security_opt: ["seccomp:builtin", "apparmor:unconfined", "no-new-privileges:false"]',
    'logging: { driver: json-file }',
    'logging: { driver: json-file, options: { mode: blocking, compress: "false" } }',
  ])('%s asks for what is so anyway', (line) => {
    const { limits = {}, cgroup = {}, namespaces, security, logging, runtime } = container(line) ?? {};
    const said = [...Object.values(limits), ...Object.values(cgroup), namespaces, security, logging, runtime];
    expect(said.filter((value) => value !== undefined)).toEqual([]);
  });

  it('mem_reservation is what the service reserves', () => {
    expect(parse('mem_reservation: 32m')?.reservations).toEqual({ memoryBytes: 32 * MIB });
    expect(parse('mem_reservation: 32m', 'deploy: { resources: { reservations: { cpus: "0.5" } } }')?.reservations).toEqual({
      memoryBytes: 32 * MIB,
      nanoCpus: 500_000_000,
    });
  });

  it.each([
    ['container_name: ends-', '4:21 expected a host name'],
    [`container_name: ${'x'.repeat(64)}`, 'expected a host name'],
    ['group_add: ["a b"]', '4:17 expected a group, name or number, found "a b"'],
    ['ulimits: { nofiles: 1 }', '4:16 "nofiles" is not a limit of processes'],
    ['ulimits: { nofile: { soft: 2, hard: 1 } }', '4:24 the soft limit 2 is more than the hard limit 1'],
    ['sysctls: { vm.max_map_count: 1 }', '"vm.max_map_count" belongs to the whole node, not to a container'],
    ['sysctls: { net.ipv4.conf.eth0.rp_filter: 1 }', 'the settings are made before the interface is there'],
    ['sysctls: { net.ipv4.conf.all.route_localnet: 0 }', 'Weft sets this itself'],
    ['sysctls: { kernel.hostname: x }', 'the name of the host is set with "hostname"'],
    ['sysctls: { "net.ipv4.x\\ny": 1 }', 'is not the name of a kernel setting'],
    ['sysctls: { net.core.somaxconn: "1;2" }', 'a setting is one line of plain text'],
    ['ipc: "service:db"', '4:10 the containers of two tasks cannot share this namespace'],
    ['pid: "container:x"', 'cannot share this namespace'],
    ['pid: all', '4:10 expected "host", found "all"'],
    ['uts: private', '4:10 expected "host", found "private"'],
    ['userns_mode: keep-id', 'Weft maps no user ids'],
    ['runtime: nvidia', '4:14 expected runc, or the name of a runtime of containerd'],
    ['devices: ["dev/x"]', '4:15 expected an absolute path without ".."'],
    ['devices: ["vendor.com/class=gpu0"]', 'a device of the Container Device Interface'],
    ['device_cgroup_rules: ["x 1:3 mr"]', '4:27 expected a rule like "c 1:3 mr"'],
    ['cpuset: 0-', 'expected CPUs like "0-2,4", found "0-"'],
    ['cpu_shares: 1', 'expected a weight from 2 to 262144'],
    ['cpu_quota: 10', 'the kernel takes no quota below 1000 microseconds'],
    ['mem_swappiness: 101', 'expected a whole number from 0 to 100'],
    ['cgroup_parent: ../up', 'expected the path of a cgroup'],
    ['blkio_config: { weight: 5 }', 'expected a whole number from 10 to 1000, found "5"'],
    ['blkio_config: { device_read_bps: [{ path: sda, rate: 1 }] }', 'expected a block device like /dev/sda'],
    ['security_opt: [label:user:x]', 'Weft gives containers no labels of SELinux'],
    ['security_opt: [no-new-privilege]', '"no-new-privilege" is not a security option'],
    ['security_opt: ["seccomp:./none.json"]', 'there is no profile "./none.json"'],
    ['logging: { driver: syslog }', '4:24 Weft keeps the logs itself and has no driver "syslog"'],
    ['logging: { options: { max-size: 1k } }', 'expected a size of at least 4k'],
    ['logging: { options: { max-file: 0 } }', 'expected a whole number from 1 to 1000'],
    ['logging: { options: { tag: x } }', 'Weft has no option "tag": the log has its own form'],
    ['logging: { options: { mode: non-blocking } }', 'Weft has no option "mode": a container waits'],
    ['logging: { driver: none, options: { max-size: 1m } }', 'the driver none has no options'],
    ['post_start: [{ command: [] }]', 'the hook names no command'],
    ['pre_stop: [{ command: x, user: "a b" }]', 'expected USER[:GROUP]'],
    ['volumes_from: [container:db]', 'what a container of another stack mounts may change without this one'],
    ['platform: linux/arm/v7', 'nodes do not tell variants of a platform apart'],
    ['storage_opt: { size: 1G }', 'Weft refuses this key: containerd'],
    ['pre_start: [{ command: x }]', 'Weft refuses this key: Weft runs nothing beside'],
    ['deploy: { resources: { reservations: { devices: [{ capabilities: [gpu] }] } } }', 'cannot hand GPUs'],
  ])('refuses %s', (line, message) => {
    expect(faults(line).join('\n')).toContain(message);
  });

  it.each([
    [['container_name: box', 'deploy: { mode: global }'], '4:5 the tasks of a global service cannot have one name'],
    [['container_name: box', 'scale: 2'], '2 containers cannot have one name'],
    [['init: true', 'pid: host'], '4:11 with "pid: host" the init would not be process 1'],
    [['privileged: true', 'cap_drop: [CHOWN]'], '5:15 a privileged container has every capability'],
    [['uts: host', 'hostname: x'], '5:15 with "uts: host" the names are those of the node'],
    [['ipc: host', 'shm_size: 1m'], '5:15 the service has no shared memory of its own'],
    [['ipc: host', 'sysctls: { kernel.shmmax: 1 }'], 'it is a setting of the IPC namespace'],
    [['network_mode: host', 'sysctls: { net.core.somaxconn: 1 }'], 'it is a setting of the network'],
    [['cpus: 1', 'cpu_quota: 5000'], '5:16 the limit of CPUs says this already'],
    [['memswap_limit: 64m'], 'it needs a limit of memory, too'],
    [['mem_limit: 64m', 'memswap_limit: 32m'], '5:20 memory and swap together'],
    [['mem_limit: 64m', 'mem_reservation: 65m'], '5:22 the reservation of memory'],
  ])('refuses %j together', (lines, message) => {
    expect(faults(...lines).join('\n')).toContain(message);
  });

  it('a name of a container is given once', () => {
    const text = ['a', 'b'].map((name) => `  ${name}: { image: x, container_name: ${name === 'a' ? 'one' : 'ONE'} }`).join('\n');
    expect(() => parseCompose({ text: `services:\n${text}`, file: 'c.yaml', env: {}, projectDirectory: '/p', projectName: 'p' })).toThrow(
      /the container of the service "a" has this name already/,
    );
  });

  it('takes a profile of seccomp from a file, relative to the project', () => {
    const profile = { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_ERRNO' }] };
    const read = (text: string) =>
      readStack(
        loadModel({
          files: [{ path: '/p/c.yaml', shown: 'c.yaml', text: service('security_opt: ["seccomp:./sec/p.json"]') }],
          projectDirectory: '/p',
          projectName: 'p',
          read: (path) => (path === '/p/sec/p.json' ? { text } : undefined),
        }),
      ).stack.services['web']?.container.security;
    expect(read(JSON.stringify(profile, null, 2))).toEqual({ seccomp: JSON.stringify(profile) });
    expect(() => read('{ "defaultAction": 1 }')).toThrow(/is no profile of seccomp/);
  });
});
