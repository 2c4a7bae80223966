import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Keyring } from './keyring.js';

const SECRET = Buffer.from('the quick brown fox');
const ABOUT = 'secret/ab/0';

describe('a keyring', () => {
  let dir: string;
  beforeEach(() => (dir = mkdtempSync(join(tmpdir(), 'weft-keyring-'))));
  afterEach(() => rmSync(dir, { recursive: true }));
  const path = () => join(dir, 'secret-keys.json');

  it('is made once, for its owner alone, and opens what it sealed before', async () => {
    const first = await Keyring.open(path());
    const sealed = first.seal(SECRET, ABOUT);
    expect(statSync(path()).mode & 0o777).toBe(0o600);
    const second = await Keyring.open(path());
    expect(second.unseal(sealed, first.currentId, ABOUT)).toEqual(SECRET);
    expect(second.nameOf(SECRET)).toBe(first.nameOf(SECRET));
  });

  it('seals the same text differently each time, and shows nothing of it', () => {
    const ring = Keyring.make();
    const [a, b] = [ring.seal(SECRET, ABOUT), ring.seal(SECRET, ABOUT)];
    expect(a).not.toBe(b);
    expect(Buffer.from(a, 'base64').includes(SECRET)).toBe(false);
    // nonce + text + tag
    expect(Buffer.from(a, 'base64')).toHaveLength(12 + SECRET.length + 16);
  });

  it('opens nothing that was changed, is of something else, or is of another ring', () => {
    const ring = Keyring.make();
    const sealed = ring.seal(SECRET, ABOUT);
    const changed = Buffer.from(sealed, 'base64');
    changed[14] = (changed[14] as number) ^ 1;
    expect(() => ring.unseal(changed.toString('base64'), ring.currentId, ABOUT)).toThrow('cannot be opened');
    expect(() => ring.unseal(sealed, ring.currentId, 'secret/cd/0')).toThrow('cannot be opened');
    expect(() => ring.unseal('AAAA', ring.currentId, ABOUT)).toThrow('cannot be opened');
    const other = Keyring.make();
    expect(() => other.unseal(sealed, ring.currentId, ABOUT)).toThrow('does not have key');
    expect(other.nameOf(SECRET)).not.toBe(ring.nameOf(SECRET));
  });

  it('opens with an older key, seals with the current one', async () => {
    const old = await Keyring.open(path());
    const sealed = old.seal(SECRET, ABOUT);
    const ring = JSON.parse(readFileSync(path(), 'utf8')) as { current: string; keys: Record<string, string>; idKey: string };
    writeFileSync(
      path(),
      JSON.stringify({ ...ring, current: 'beefbeef', keys: { ...ring.keys, beefbeef: Buffer.alloc(32, 7).toString('base64') } }),
    );
    const rotated = await Keyring.open(path());
    expect(rotated.currentId).toBe('beefbeef');
    expect(rotated.unseal(sealed, old.currentId, ABOUT)).toEqual(SECRET);
    expect(rotated.unseal(rotated.seal(SECRET, ABOUT), 'beefbeef', ABOUT)).toEqual(SECRET);
    expect(rotated.nameOf(SECRET)).toBe(old.nameOf(SECRET));
  });

  it.each([
    ['{', 'is not JSON'],
    ['{"current":"aaaaaaaa","keys":{"aaaaaaaa":"AAAA"},"idKey":"AAAA"}', '256 bits'],
    [`{"current":"bbbbbbbb","keys":{},"idKey":"${Buffer.alloc(32).toString('base64')}"}`, 'calls current'],
  ])('that cannot be read is no ring: %s', async (text, why) => {
    writeFileSync(path(), text);
    await expect(Keyring.open(path())).rejects.toThrow(why);
  });
});
