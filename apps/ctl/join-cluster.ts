/** A user joins a cluster: the token pins whose CA is believed; the key never leaves this machine. */
import { text as readAll } from 'node:stream/consumers';
import { WeftError } from '#base/errors.js';
import { callUnary, connectToJoin } from '#rpc/client.js';
import { JoinClient } from '#rpc/gen/weft/v1/api.js';
import { createCsr } from '#trust/ca.js';
import { caDigest, identityOf, type Identity } from '#trust/identity.js';
import { fetchCa } from '#trust/join.js';
import { parseToken } from '#trust/token.js';
import type { Shell } from './shell.js';

/** @throws USAGE, TOKEN_INVALID, UNAUTHENTICATED (another cluster), UNAVAILABLE */
export async function joinCluster(shell: Shell, address: string, tokenText: string): Promise<{ endpoints: string[]; identity: Identity }> {
  const match = /^(.+):(\d{1,5})$/.exec(address);
  if (!match) throw new WeftError('USAGE', { what: `--join ${JSON.stringify(address)} is not host:port` });
  const token = parseToken(tokenText === '-' ? await readAll(shell.stdin) : tokenText);
  const caPem = await fetchCa(match[1] as string, Number(match[2]), token.caDigest);
  const { csrPem, keyPem } = await createCsr();
  const client = connectToJoin(JoinClient, address, caPem);
  try {
    const request = { token: `${token.id}.${token.secret}`, csrPem, name: '', address: '', role: 'admin' };
    const signed = await callUnary(client, 'signCertificate', request, { target: `the controller at ${address}` });
    // What the answer calls the CA is only taken if it is the one that the token pins.
    if (signed.caPem !== '' && caDigest(signed.caPem) !== token.caDigest)
      throw new WeftError('UNAUTHENTICATED', 'the controller answered with another CA than the token names');
    const identity = identityOf({ caPem, certPem: signed.certificatePem, keyPem });
    if (identity.role !== 'admin')
      throw new WeftError('TOKEN_INVALID', {
        what: `the token is for a ${identity.role}, not for a user`,
        hint: 'Make one with `ctl node token --role admin`.',
      });
    if (signed.controllers.length === 0) throw new WeftError('UNAVAILABLE', 'the controller named no address of its API');
    return { endpoints: signed.controllers, identity };
  } finally {
    client.close();
  }
}
