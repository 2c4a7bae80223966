/** The joiner's side of trust on first contact: learn the CA from the TLS handshake, and believe it only if the token pins it. */
import { timingSafeEqual } from 'node:crypto';
import { connect, type DetailedPeerCertificate } from 'node:tls';
import { WeftError } from '#base/errors.js';
import { caDigest } from './identity.js';

const HANDSHAKE_TIMEOUT_MS = 5_000;

function presentedChain(certificate: DetailedPeerCertificate): string[] {
  const pems: string[] = [];
  for (let c: DetailedPeerCertificate | undefined = certificate; c?.raw; c = c.issuerCertificate === c ? undefined : c.issuerCertificate) {
    pems.push(`-----BEGIN CERTIFICATE-----\n${c.raw.toString('base64').replace(/(.{64})(?=.)/g, '$1\n')}\n-----END CERTIFICATE-----\n`);
  }
  return pems;
}

/**
 * The CA certificate of the controller at `host:port`. Nothing is sent but the handshake.
 * @param expectedDigest sha256 of the CA's DER, hex, from the token
 * @throws UNAVAILABLE; UNAUTHENTICATED when the controller's CA is another
 */
export async function fetchCa(host: string, port: number, expectedDigest: string): Promise<string> {
  const pems = await new Promise<string[]>((resolve, reject) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
      servername: 'controller.weft',
      timeout: HANDSHAKE_TIMEOUT_MS,
    });
    socket.once('secureConnect', () => {
      resolve(presentedChain(socket.getPeerCertificate(true)));
      socket.destroy();
    });
    const fail = (why: string) => {
      socket.destroy();
      reject(new WeftError('UNAVAILABLE', { what: `cannot join at ${host}:${port}`, why }));
    };
    socket.once('error', (error) => fail(error.message));
    socket.once('timeout', () => fail('no answer'));
  });
  const expected = Buffer.from(expectedDigest, 'hex');
  const pinned = pems.find((pem) => timingSafeEqual(Buffer.from(caDigest(pem), 'hex'), expected));
  if (pinned) return pinned;
  throw new WeftError('UNAUTHENTICATED', {
    what: `the controller at ${host}:${port} is not of the cluster that the token was made for`,
    why: 'its CA certificate has another digest',
    hint: 'Check the address; if it is right, make a new token on that cluster.',
  });
}
