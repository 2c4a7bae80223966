/**
 * Volumes of NFS by local driver options (`driver_opts: { type: nfs, … }`): one stock Debian exports a directory by the kernel's server, another
 * mounts it by the agent's own code, as the compose file says.
 */
import { parseCompose } from '#compose/parse-compose.js';
import type { VolumeOptions } from '#model/volume-options.js';
import { ReadModel } from '#planner/read-model.js';
import { resolveVolumes } from '#planner/volumes.js';
import { eventually } from '../cluster/cluster.js';
import type { Machine } from './machine.js';
import { boot } from './machines.js';
import type { HoldAnswer, HoldRequest, SweepAnswer } from './volume.js';

const CASE_MS = 900_000;
const BOOT_MS = 1_800_000;
/** A new server takes nothing new for its grace period (10 s, as set below). */
const SETTLE_MS = 120_000;
/** What mount(8) is given by the agent, and the same again for an emulated machine to say so. */
const FAILS_WITHIN_MS = 40_000;
const EXPORTED = '/srv/exported';

let server: Machine;
let client: Machine;
let stop = (): Promise<void> => Promise.resolve();

/** What an agent is told of a volume of a file like this, by the code that the controller has for it. @param o of `driver_opts` */
function optionsOf(o: string, device = `:${EXPORTED}`, type = 'nfs'): VolumeOptions {
  const volume = `{ driver: local, driver_opts: { type: ${type}, o: "${o}", device: "${device}" } }`;
  const text = `name: s\nservices: { web: { image: a, volumes: ["data:/data"] } }\nvolumes: { data: ${volume} }\n`;
  const { stack } = parseCompose({ text, file: 'stack.yaml', env: {}, projectDirectory: '/srv/s' });
  const options = resolveVolumes(new ReadModel(), stack).services['web']?.container.mounts[0]?.volumeOptions;
  if (!options) throw new Error('the volume has no options');
  return options;
}

const agent = async <T>(verb: string, request: unknown = {}): Promise<T> =>
  JSON.parse(await client.run(['node', '/opt/weft/bundles/volume.mjs', verb], { input: JSON.stringify(request), timeoutMs: CASE_MS })) as T;
const hold = (options: VolumeOptions, task = 't1'): Promise<HoldAnswer> =>
  agent('hold', { task, name: 's_data', options } satisfies HoldRequest);
const mounted = async (): Promise<string> => (await client.run(['cat', '/proc/self/mounts'])).match(/^.* nfs4? .*$/gm)?.join('\n') ?? '';

/** NFS 4, and 3 with the programs that it needs beside it. */
async function serve(): Promise<void> {
  const script = [
    `mkdir -p ${EXPORTED} /proc/fs/nfsd && echo "of the server" > ${EXPORTED}/first`,
    'modprobe nfsd',
    'mountpoint -q /proc/fs/nfsd || mount -t nfsd nfsd /proc/fs/nfsd',
    `exportfs -o rw,sync,no_subtree_check,no_root_squash ${client.address}:${EXPORTED}`,
    'rpcbind',
    'rpc.mountd',
    'rpc.nfsd --grace-time 10 --lease-time 10 2',
  ].join(' && ');
  await server.run(['sh', '-c', script], { timeoutMs: CASE_MS });
}

beforeAll(async () => {
  const booted = await boot(2);
  stop = booted.stop;
  [server, client] = booted.machines as [Machine, Machine];
  await client.run(['sh', '-c', `echo '${server.address} nas' >> /etc/hosts`]);
  await serve();
}, BOOT_MS);
afterAll(() => stop(), 60_000);
afterEach(async () => {
  expect(await agent('sweep')).toMatchObject({ left: [] });
  expect(await mounted()).toBe('');
}, CASE_MS);

it.each([
  ['nfs', 'addr=10.77.0.1,nfsvers=4.2,rw,noac', 'nfs4 rw,.*vers=4\\.2'],
  ['nfs4', 'addr=nas,rw,noac', 'nfs4 rw,.*vers=4\\.\\d'],
  // As Docker's manual has it: without a version the kernel takes 3.
  ['nfs', 'addr=nas,nolock,soft,rw,noac', 'nfs rw,.*vers=3'],
])(
  'a volume of type %s (%s) is the directory of the server, for reading and writing',
  async (type, o, kind) => {
    const answer = await hold(optionsOf(o, `:${EXPORTED}`, type));
    expect(answer).toMatchObject({ path: expect.stringContaining('s_data@') });
    const path = answer.path ?? '';
    expect(await mounted()).toMatch(new RegExp(` ${path} ${kind},.*[, ]addr=10\\.77\\.0\\.1`));
    await eventually(SETTLE_MS, async () => expect(await client.run(['cat', `${path}/first`])).toBe('of the server\n'));
    await client.run(['sh', '-c', `echo "of the client, ${type}" > ${path}/second`], { timeoutMs: SETTLE_MS });
    expect(await server.run(['cat', `${EXPORTED}/second`])).toBe(`of the client, ${type}\n`);
    await server.run(['sh', '-c', `echo "once more, ${type}" > ${EXPORTED}/second`]);
    await eventually(SETTLE_MS, async () => expect(await client.run(['cat', `${path}/second`])).toBe(`once more, ${type}\n`));
    // A second task has the same mount; another agent finds it there.
    expect(await hold(optionsOf(o, `:${EXPORTED}`, type), 't2')).toMatchObject({ path });
    expect((await mounted()).split('\n')).toHaveLength(1);
  },
  CASE_MS,
);

it(
  'read-only options hold',
  async () => {
    const { path = '' } = await hold(optionsOf('addr=10.77.0.1,nfsvers=4.2,ro'));
    await eventually(SETTLE_MS, async () => expect(await client.run(['cat', `${path}/first`])).toBe('of the server\n'));
    const { code, stderr } = await client.try(['touch', `${path}/third`]);
    expect([code, stderr]).toEqual([1, expect.stringContaining('Read-only file system')]);
  },
  CASE_MS,
);

it.each([
  ['a machine that there is not', 'addr=10.77.0.99,nfsvers=4.2', `:${EXPORTED}`, /took too long|No route|timed out/],
  ['a machine without a server', 'addr=10.77.0.2,nfsvers=4.2,soft,timeo=10,retrans=1', `:${EXPORTED}`, /Connection refused/],
  // mount(8) calls whatever a server does not show a special device that does not exist.
  ['a directory that is not exported', 'addr=10.77.0.1,nfsvers=4.2', ':/etc', /:\/etc does not exist|denied|No such file/],
])(
  '%s is an error that names volume, node and device, in its time',
  async (_, o, device, reason) => {
    const { code, what, why, ms } = await hold(optionsOf(o, device));
    expect({ code, what }).toEqual({
      code: 'UNAVAILABLE',
      what: expect.stringContaining(`volume s_data cannot be mounted on node node2: nfs ${device} (addr=`),
    });
    expect(why).toMatch(reason);
    expect(ms).toBeLessThan(FAILS_WITHIN_MS);
  },
  CASE_MS,
);

it.each(['addr=10.77.0.1,nfsvers=4.2', 'addr=10.77.0.1,nolock'])(
  'a server that is gone (%s) keeps no agent from unmounting, in its time',
  async (o) => {
    const { path = '' } = await hold(optionsOf(o));
    await eventually(SETTLE_MS, async () => expect(await client.run(['cat', `${path}/first`])).toBe('of the server\n'));
    await server.run(['ip', 'link', 'set', 'eth0', 'down']);
    try {
      // Nobody gets there any more.
      expect((await client.try(['timeout', '-s', 'KILL', '5', 'ls', path])).code).not.toBe(0);
      const { left, ms } = await agent<SweepAnswer>('sweep');
      expect(left).toEqual([]);
      expect(ms).toBeLessThan(FAILS_WITHIN_MS);
    } finally {
      await server.run(['ip', 'link', 'set', 'eth0', 'up']);
    }
  },
  CASE_MS,
);
