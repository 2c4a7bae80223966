import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { memberSchema, type Member } from '#model/node-view.js';
import { wireguardKeysSchema } from '#model/tunnel.js';
import { withTempDir } from './spec-kit.js';
import { NodeTunnelKeys, presharedKey } from './tunnel-keys.js';

const member = (id: string, keys: NodeTunnelKeys): Member =>
  memberSchema.parse({ id, name: id, address: '192.0.2.1', kind: 'node', index: 1, wireguard: keys.publicKeys });

async function withPair(use: (a: NodeTunnelKeys, b: NodeTunnelKeys, dir: string) => Promise<void>): Promise<void> {
  await withTempDir(async (dir) => use(await NodeTunnelKeys.open(join(dir, 'a'), 1), await NodeTunnelKeys.open(join(dir, 'b'), 1), dir));
}
const secretOf = (keys: NodeTunnelKeys, members: Member[], own: string, other: string, older = new Map<string, number>()) =>
  keys.presharedKey(keys.forOverlay(members, own, older).presharedKeys[other] ?? '');

describe('the keys of a node', () => {
  it('are made once, in a file that only its owner reads, and tell others their public halves', () =>
    withPair(async (a, _b, dir) => {
      const path = join(dir, 'a', 'tunnel-keys.json');
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      expect((await stat(join(dir, 'a'))).mode & 0o777).toBe(0o700);
      const again = await NodeTunnelKeys.open(join(dir, 'a'), 2);
      expect(again.publicKeys).toEqual(a.publicKeys);
      expect(wireguardKeysSchema.parse(a.publicKeys)).toEqual(a.publicKeys);
      expect(a.privateKey(a.publicKeys.publicKey)).toMatch(/^[A-Za-z0-9+/]{43}=$/);
      expect(a.privateKey(a.publicKeys.rotatingKey)).toBeUndefined();
    }));

  it('make the same secret on both ends, another one after a rotation, once both have heard of it', () =>
    withPair(async (a, b) => {
      const before = [member('aaaaaaaa', a), member('bbbbbbbb', b)];
      const secret = secretOf(a, before, 'aaaaaaaa', 'bbbbbbbb');
      expect(secret).toMatch(/^[A-Za-z0-9+/]{43}=$/);
      expect(secretOf(b, before, 'bbbbbbbb', 'aaaaaaaa')).toBe(secret);
      await a.rotate(2);
      // Not told yet: nothing changes.
      expect(secretOf(a, before, 'aaaaaaaa', 'bbbbbbbb')).toBe(secret);
      const after = [member('aaaaaaaa', a), member('bbbbbbbb', b)];
      const next = secretOf(a, after, 'aaaaaaaa', 'bbbbbbbb');
      expect(next).not.toBe(secret);
      expect(secretOf(b, after, 'bbbbbbbb', 'aaaaaaaa')).toBe(next);
      // With one that has not heard of it, the older key still works.
      expect(secretOf(a, after, 'aaaaaaaa', 'bbbbbbbb', new Map([['bbbbbbbb', 1]]))).toBe(secret);
      expect(a.publicKeys.publicKey).toBe(before[0]?.wireguard?.publicKey);
    }));

  it('make none with a key that leads to a secret everybody knows', () => {
    const zero = Buffer.alloc(32).toString('base64');
    expect(presharedKey(Buffer.alloc(32, 7).toString('base64'), zero)).toBeUndefined();
  });

  it('are not shown when their file cannot be read', () =>
    withTempDir(async (dir) => {
      await writeFile(join(dir, 'tunnel-keys.json'), '{"node":"c2VjcmV0"');
      const error = await NodeTunnelKeys.open(dir, 1).catch((e: Error) => e);
      expect(error).toMatchObject({ code: 'CORRUPT' });
      expect(JSON.stringify(error)).not.toContain('c2VjcmV0');
    }));
});
