import { readFile, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import type { ImageInfo } from '#runtime/runtime.js';
import { imagesToRemove } from './collect-images.js';
import { ensureImage, repositoryOf, type ImageSources } from './ensure-image.js';
import { holderOf, takeLock } from './lock.js';
import { parseOptions } from './options.js';
import { Observed } from './observed.js';
import { withTempDir } from './spec-kit.js';
import { turns } from '#base/turns.js';
import { followUpstreams, nameServersIn, upstreamsOf } from './upstreams.js';

describe('turns', () => {
  it('let no more than the limit work at once, and everyone in the end', async () => {
    const inTurn = turns(3);
    let now = 0;
    let most = 0;
    const work = async () => {
      most = Math.max(most, ++now);
      await new Promise((resolve) => setTimeout(resolve, 1));
      now--;
    };
    await Promise.allSettled([...Array.from({ length: 20 }, () => inTurn(work)), inTurn(() => Promise.reject(new Error('x')))]);
    expect([most, now]).toEqual([3, 0]);
  });
});

describe('observed containers', () => {
  const info = (id: string, state: 'running' | 'stopped') => ({ id, image: 'x', labels: {}, state });

  it('are newer than a listing that began before they changed', async () => {
    const observed = new Observed();
    await observed.refresh(
      async () => [info('a', 'running'), info('b', 'running')],
      () => false,
    );
    await observed.refresh(
      async () => {
        observed.put(info('a', 'stopped'));
        return [info('a', 'running'), info('c', 'running')];
      },
      () => false,
    );
    expect(
      observed
        .all()
        .map((c) => `${c.id} ${c.state}`)
        .sort(),
    ).toEqual(['a stopped', 'c running']);
  });
});

describe('options', () => {
  it('have defaults, and take the token from the environment', () => {
    expect(
      parseOptions(['--address', '192.0.2.1', '--name', 'n1', '--join', 'c', '--controllers', 'c,d:1'], { WEFT_TOKEN: 't' }),
    ).toMatchObject({
      dataDir: '/var/lib/weft',
      containerdNamespace: 'weft',
      controllers: ['c:7700', 'd:1'],
      join: { token: 't', host: 'c', port: 7701 },
      listenPort: 7702,
    });
  });
  it.each([
    [[]],
    [['--address', 'x']],
    [['--address', '192.0.2.1', '--listen-port', '99999']],
    [['--address', '192.0.2.1', '--nope']],
    [['--address', '192.0.2.1', '--controllers', 'a b']],
  ])('refuse %j', (argv) => {
    expect(() => parseOptions(argv, {})).toThrow(WeftError);
  });
});

describe('the lock on a data directory', () => {
  it('is held by a live process only', () =>
    withTempDir(async (dir) => {
      const file = join(dir, 'agent.pid');
      const release = await takeLock(file);
      expect(await holderOf(file)).toBe(process.pid);
      await release();
      await expect(readFile(file)).rejects.toThrow();
      await writeFile(file, '999999999\n');
      expect(await holderOf(file)).toBeUndefined();
      await writeFile(file, `${process.ppid}\n`);
      await expect(takeLock(file)).rejects.toMatchObject({ code: 'CONFLICT' });
      // Written before that process began: its number was somebody else's then.
      await utimes(file, 1, 1);
      await (
        await takeLock(file)
      )();
    }));
});

describe('upstream name servers', () => {
  it('are those of resolv.conf, in order', () => {
    const text =
      '# x\nnameserver 192.0.2.53\n nameserver\t192.0.2.1 \nnameserver fe80::1%eth0\nnameserver 192.0.2.53\nnameserver x\nsearch a\n';
    expect(nameServersIn(text)).toEqual(['192.0.2.53', '192.0.2.1', 'fe80::1%eth0']);
  });

  it('are those behind the stub of systemd-resolved, where the host has that alone', () => {
    const stub = 'nameserver 127.0.0.53\noptions edns0 trust-ad\n';
    expect(upstreamsOf(stub, 'nameserver 192.0.2.1\nnameserver 2001:db8::53\n')).toEqual(['192.0.2.1', '2001:db8::53']);
    expect(upstreamsOf(stub, '')).toEqual(['127.0.0.53']);
    expect(upstreamsOf('nameserver 192.0.2.9\n', 'nameserver 192.0.2.1\n')).toEqual(['192.0.2.9']);
  });

  it(
    'are followed as the files change, and are none where there is no such file',
    () =>
      withTempDir(async (dir) => {
        const seen: string[][] = [];
        const [host, behind] = [join(dir, 'resolv.conf'), join(dir, 'behind.conf')];
        const stop = await followUpstreams(host, (servers) => seen.push(servers), behind);
        const until = async (count: number) => {
          for (let i = 0; i < 200 && seen.length < count; i++) await new Promise((resolve) => setTimeout(resolve, 50));
        };
        await writeFile(behind, 'nameserver 192.0.2.1\n');
        await writeFile(host, 'nameserver 127.0.0.53\n');
        await until(2);
        await writeFile(`${behind}.new`, 'nameserver 192.0.2.2\n');
        await rename(`${behind}.new`, behind);
        await until(3);
        await stop();
        expect(seen).toEqual([[], ['192.0.2.1'], ['192.0.2.2']]);
      }),
    30_000,
  );
});

const image = (name: string, digest: string, sizeBytes = 10): ImageInfo => ({ name, digest, sizeBytes, platforms: [] });

describe('images to remove', () => {
  const HOUR = 3_600_000;
  const images = [image('a', 'sha256:a'), image('b', 'sha256:b'), image('c', 'sha256:c'), image('d', 'sha256:d')];
  const lastUsed = new Map([
    ['a', 2],
    ['b', 1],
    ['c', 0],
    ['d', 5 * HOUR],
  ]);
  const choose = (usedBytes: number) =>
    imagesToRemove({ images, inUse: new Set(['sha256:c']), lastUsed, disk: { usedBytes, totalBytes: 100 }, now: 5 * HOUR + 10 });

  it('are none while there is room', () => expect(choose(85)).toEqual([]));
  it('are the longest unused, as many as it takes', () => expect([choose(86), choose(95)]).toEqual([['b'], ['b', 'a']]));
  it('are never those in use or used lately', () => expect(choose(100)).toEqual(['b', 'a']));
});

describe('the image of a task', () => {
  const digest = `sha256:${'1'.repeat(64)}`;
  const store = (...images: ImageInfo[]) => {
    const pulled: string[] = [];
    return {
      pulled,
      resolveImage: async (reference: string) => images.find((i) => i.name === reference),
      listImages: async () => images,
      pullImage: async (reference: string) => {
        pulled.push(reference);
        if (reference.startsWith('gone')) throw new WeftError('UNAVAILABLE', 'no such registry');
        return image(reference, digest);
      },
    };
  };

  it('is the one that was pinned, under whatever name it is here', async () => {
    expect((await ensureImage(store(image('web:1', digest)), { image: 'web:1', imageDigest: digest }, 'n1')).name).toBe('web:1');
    expect(
      await ensureImage(store(image('web:1', 'sha256:0'), image('other', digest)), { image: 'web:1', imageDigest: digest }, 'n1'),
    ).toMatchObject({ name: 'other' });
  });

  it('is pulled by digest when only another of its name is here', async () => {
    const here = store(image('r:5000/web:1', 'sha256:0'));
    expect((await ensureImage(here, { image: 'r:5000/web:1', imageDigest: digest }, 'n1')).name).toBe(`r:5000/web@${digest}`);
    expect(here.pulled).toEqual([`r:5000/web@${digest}`]);
  });

  it('comes from another node when it was pinned, and says what is waited for; else from its registry', async () => {
    const here = store(image('web:1', 'sha256:0'));
    const asked: string[] = [];
    const said: string[] = [];
    const onWait = (message: string) => void said.push(message);
    const peers: ImageSources['peers'] = {
      fetch: async (name, wanted, onProgress) => {
        asked.push(name);
        onProgress({ doneBytes: 1, totalBytes: 4 });
        return image(name, wanted);
      },
    };
    const wish = { image: 'web:1', imageDigest: digest };
    // The name stands for another image here, and keeps doing so.
    expect(await ensureImage(here, wish, 'n1', { peers, onWait })).toMatchObject({ name: `web@${digest}` });
    expect([asked, here.pulled]).toEqual([[`web@${digest}`], []]);
    expect(said).toEqual([
      `waiting for the image web@${digest} from another node`,
      `waiting for the image web@${digest} from another node: 25 %`,
    ]);
    await ensureImage(store(), wish, 'n1', { peers });
    expect(asked[1]).toBe('web:1');

    const none = { fetch: () => Promise.reject(new WeftError('IMAGE_UNKNOWN', 'no other node has it')) };
    expect((await ensureImage(here, wish, 'n1', { peers: none, onWait })).name).toBe(`web@${digest}`);
    expect(said.at(-1)).toBe('waiting for the image web:1 from its registry');
    await expect(ensureImage(store(), { image: 'gone:1', imageDigest: digest }, 'n1', { peers: none })).rejects.toMatchObject({
      why: expect.stringContaining('no other node gives it (no other node has it)'),
    });
  });

  it('is missed with the node, the image and the reason', async () => {
    await expect(ensureImage(store(), { image: 'gone:1' }, 'n1')).rejects.toMatchObject({
      code: 'IMAGE_UNKNOWN',
      what: 'image gone:1 is not on node n1',
      why: expect.stringContaining('no such registry'),
    });
  });

  it.each([
    ['busybox', 'busybox'],
    ['r:5000/a/b', 'r:5000/a/b'],
    ['r:5000/a/b:1.2@sha256:ab', 'r:5000/a/b'],
  ])('%s is of the repository %s', (reference, repository) => expect(repositoryOf(reference)).toBe(repository));
});
