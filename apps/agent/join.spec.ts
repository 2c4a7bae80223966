import { silentLog } from '#base/log.js';
import { JoinService, type SignCertificateRequest } from '#rpc/gen/weft/v1/api.js';
import { startServer, unary } from '#rpc/server.js';
import { createCa, issue, signCsr } from '#trust/ca.js';
import { caDigest } from '#trust/identity.js';
import { makeToken, parseSecretPart, secretMatches } from '#trust/token.js';
import { ensureMembership } from './join.js';
import { layout } from './layout.js';
import { parseOptions } from './options.js';
import { NODE_ID, withTempDir } from './spec-kit.js';

async function withJoinServer(
  role: 'node' | 'admin',
  use: (at: { port: number; token: string; asked: SignCertificateRequest[] }) => Promise<void>,
) {
  const ca = await createCa('c1c1c1c1');
  const token = makeToken(caDigest(ca.certPem));
  const asked: SignCertificateRequest[] = [];
  const signCertificate = unary(['none'], async (request: SignCertificateRequest) => {
    asked.push(request);
    if (!secretMatches(parseSecretPart(request.token).secret, token.secretHash)) throw new Error('wrong secret');
    const certificatePem = await signCsr(ca, request.csrPem, { role, id: NODE_ID, clusterId: 'c1c1c1c1' });
    return { certificatePem, caPem: ca.certPem, nodeId: NODE_ID, clusterId: 'c1c1c1c1', controllers: ['192.0.2.1:7700'] };
  });
  const identity = await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1c1c1c1' });
  const server = await startServer({
    address: '127.0.0.1',
    port: 0,
    identity,
    joinOnly: true,
    services: [{ definition: JoinService, implementation: { signCertificate } }],
  });
  try {
    await use({ port: server.port, token: token.text, asked });
  } finally {
    await server.stop();
  }
}

const options = (token: string | undefined, port: number) =>
  parseOptions(['--address', '192.0.2.9', '--name', 'n9', '--join', `127.0.0.1:${port}`, '--controllers', 'other:1'], {
    WEFT_TOKEN: token,
  });

describe('membership', () => {
  it('is got once with a token, and then known', () =>
    withJoinServer('node', ({ port, token, asked }) =>
      withTempDir(async (dir) => {
        const paths = layout(dir, dir);
        const first = await ensureMembership(options(token, port), paths, silentLog);
        expect(first.identity).toMatchObject({ id: NODE_ID, role: 'node', clusterId: 'c1c1c1c1' });
        expect(first.controllers).toEqual(['other:1', '192.0.2.1:7700']);
        expect(asked).toMatchObject([{ name: 'n9', address: '192.0.2.9' }]);
        expect(await ensureMembership(options(undefined, port), paths, silentLog)).toEqual(first);
        expect(asked.length).toBe(1);
      }),
    ));

  it('is not got from a cluster that the token was not made for', () =>
    withJoinServer('node', ({ port, asked }) =>
      withTempDir(async (dir) => {
        const foreign = makeToken('00'.repeat(32)).text;
        await expect(ensureMembership(options(foreign, port), layout(dir, dir), silentLog)).rejects.toMatchObject({
          code: 'UNAUTHENTICATED',
        });
        expect(asked).toEqual([]);
      }),
    ));

  it('is not got with a token for something else, nor without one', () =>
    withJoinServer('admin', ({ port, token }) =>
      withTempDir(async (dir) => {
        await expect(ensureMembership(options(token, port), layout(dir, dir), silentLog)).rejects.toMatchObject({ code: 'TOKEN_INVALID' });
        await expect(ensureMembership(options(undefined, port), layout(dir, dir), silentLog)).rejects.toMatchObject({
          code: 'UNAUTHENTICATED',
        });
      }),
    ));
});
