import { credentials, type ServiceError } from '@grpc/grpc-js';
import { WeftError } from '#base/errors.js';
import { callUnary, connect, connectToJoin, openBidi, readStream } from '#rpc/client.js';
import { AgentHubClient, AgentHubService } from '#rpc/gen/weft/v1/agent_hub.js';
import { ApiClient, ApiService, JoinClient, JoinService } from '#rpc/gen/weft/v1/api.js';
import { bidi, serverStream, startServer, unary } from '#rpc/server.js';
import { createCa, issue } from '#trust/ca.js';
import { caDigest } from '#trust/identity.js';
import { fetchCa } from '#trust/join.js';

const subject = { role: 'admin', id: 'me', clusterId: 'c1' } as const;

describe('mutual TLS', () => {
  it('lets the named roles in, refuses other roles, other clusters and strangers, and carries errors and streams', async () => {
    const ca = await createCa('c1');
    const server = await startServer({
      address: '127.0.0.1',
      port: 0,
      identity: await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1' }),
      services: [
        {
          definition: ApiService,
          implementation: {
            getCluster: unary(['admin'], async (_request, peer) => ({
              id: peer.clusterId,
              leader: peer.id,
              version: '1',
              controllers: [],
              stale: '',
            })),
            removeStack: unary(['admin'], async () => {
              throw new WeftError('NOT_FOUND', { what: 'no stack "x"', why: 'it was never there', hint: 'Look.' });
            }),
            watchStack: serverStream(['admin'], async function* () {
              for (let generation = 1; generation <= 3; generation++)
                yield { name: 'x', exists: true, generation, removing: false, services: [], tasks: [] };
              throw new WeftError('CONFLICT', 'that was all');
            }),
          },
        },
        {
          definition: AgentHubService,
          implementation: {
            attach: bidi(['node'], async function* (requests: AsyncIterable<{ message?: { $case: string } }>) {
              for await (const r of requests) yield { message: { $case: 'accept' as const, value: { clusterId: r.message?.$case ?? '' } } };
              yield { message: { $case: 'accept' as const, value: { clusterId: 'after the last request' } } };
            }),
          },
        },
      ],
    });
    const target = `127.0.0.1:${server.port}`;
    const admin = connect(ApiClient, target, await issue(ca, subject), 'controller');
    const nodeIdentity = await issue(ca, { role: 'node', id: 'n1', clusterId: 'c1' });
    const node = connect(ApiClient, target, nodeIdentity, 'controller');
    const hub = connect(AgentHubClient, target, nodeIdentity, 'controller');
    const foreign = connect(ApiClient, target, { ...(await issue(await createCa('c2'), subject)), caPem: ca.certPem }, 'controller');
    const naked = new ApiClient(target, credentials.createSsl(Buffer.from(ca.certPem)), {
      'grpc.ssl_target_name_override': 'controller.weft',
    });
    const wrongServer = connect(ApiClient, target, await issue(ca, subject), 'node');
    try {
      expect(await callUnary(admin, 'getCluster', {})).toEqual({ id: 'c1', leader: 'me', version: '1', controllers: [], stale: '' });
      await expect(callUnary(admin, 'removeStack', { name: 'x' })).rejects.toMatchObject({
        code: 'NOT_FOUND',
        why: 'it was never there',
        hint: 'Look.',
      });
      await expect(callUnary(node, 'getCluster', {})).rejects.toMatchObject({ code: 'FORBIDDEN' });
      await expect(callUnary(foreign, 'getCluster', {}, { timeoutMs: 3000 })).rejects.toMatchObject({ code: 'UNAVAILABLE' });
      await expect(callUnary(wrongServer, 'getCluster', {}, { timeoutMs: 3000 })).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
      await expect(
        new Promise((resolve, reject) => naked.getCluster({}, (e: ServiceError | null, r) => (e ? reject(e) : resolve(r)))),
      ).rejects.toBeDefined();
      const seen: number[] = [];
      await expect(
        (async () => {
          for await (const state of readStream(admin.watchStack({ name: 'x' }))) seen.push(state.generation);
        })(),
      ).rejects.toMatchObject({ code: 'CONFLICT' });
      expect(seen).toEqual([1, 2, 3]);
      const stream = openBidi(hub.attach());
      await stream.send({ message: { $case: 'heartbeat', value: { appliedRevision: 1, programmedRevision: 0, number: 1 } } });
      const first = await stream.messages.next();
      expect(first.value?.message).toEqual({ $case: 'accept', value: { clusterId: 'heartbeat' } });
      stream.end();
      expect((await stream.messages.next()).value?.message).toEqual({ $case: 'accept', value: { clusterId: 'after the last request' } });
      expect((await stream.messages.next()).done).toBe(true);
    } finally {
      for (const client of [admin, node, hub, foreign, naked, wrongServer]) client.close();
      await server.stop();
    }
  });

  it('joins by the pinned CA digest only', async () => {
    const ca = await createCa('c1');
    const server = await startServer({
      address: '127.0.0.1',
      port: 0,
      joinOnly: true,
      identity: await issue(ca, { role: 'controller', id: 'k1', clusterId: 'c1' }),
      services: [
        {
          definition: JoinService,
          implementation: {
            signCertificate: unary(['none'], async (request: { name: string }) => ({
              certificatePem: request.name,
              caPem: '',
              nodeId: '',
              clusterId: '',
              controllers: [],
            })),
          },
        },
      ],
    });
    try {
      const pem = await fetchCa('127.0.0.1', server.port, caDigest(ca.certPem));
      expect(caDigest(pem)).toBe(caDigest(ca.certPem));
      await expect(fetchCa('127.0.0.1', server.port, '00'.repeat(32))).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
      const client = connectToJoin(JoinClient, `127.0.0.1:${server.port}`, pem);
      expect(await callUnary(client, 'signCertificate', { token: '', csrPem: '', name: 'n', address: '' })).toMatchObject({
        certificatePem: 'n',
      });
      client.close();
    } finally {
      await server.stop();
    }
  });
});
