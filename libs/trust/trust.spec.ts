import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WeftError } from '#base/errors.js';
import { createCa, createCsr, issue, signCsr } from './ca.js';
import { identityOf, loadIdentity, saveIdentity } from './identity.js';
import { makeToken, parseSecretPart, parseToken, secretMatches } from './token.js';

const subject = { role: 'admin', id: 'me', clusterId: 'c1' } as const;

describe('tokens', () => {
  it('parse back, match only their own secret, and never hold it', () => {
    const token = makeToken('ab'.repeat(32));
    const parsed = parseToken(`${token.text}\n`);
    expect(parsed).toMatchObject({ caDigest: 'ab'.repeat(32), id: token.id });
    expect(parseSecretPart(`${parsed.id}.${parsed.secret}`)).toEqual({ id: parsed.id, secret: parsed.secret });
    expect(secretMatches(parsed.secret, token.secretHash)).toBe(true);
    expect(secretMatches('0'.repeat(48), token.secretHash)).toBe(false);
    expect(secretMatches(parsed.secret, 'zz')).toBe(false);
    expect(token.secretHash).not.toContain(parsed.secret);
    expect(() => parseToken('weft1.xx')).toThrow(WeftError);
  });
});

describe('certificates', () => {
  it('carry the subject the signer chose, whatever the request says', async () => {
    const ca = await createCa('c1');
    const { csrPem, keyPem } = await createCsr();
    const certPem = await signCsr(ca, csrPem, { role: 'node', id: 'abcd', clusterId: 'c1' });
    expect(identityOf({ caPem: ca.certPem, certPem, keyPem })).toMatchObject({ role: 'node', id: 'abcd', clusterId: 'c1' });
  });

  it('refuse a request that does not parse', async () => {
    await expect(signCsr(await createCa('c1'), 'nonsense', subject)).rejects.toMatchObject({ code: 'BAD_VALUE' });
  });

  it('are kept in files that only their owner reads', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'weft-trust-'));
    try {
      const identity = await issue(await createCa('c1'), subject);
      expect(await loadIdentity(join(dir, 'pki'))).toBeUndefined();
      await saveIdentity(join(dir, 'pki'), identity);
      expect(await loadIdentity(join(dir, 'pki'))).toEqual(identity);
      expect((await stat(join(dir, 'pki', 'key.pem'))).mode & 0o777).toBe(0o600);
    } finally {
      await rm(dir, { recursive: true });
    }
  });
});
