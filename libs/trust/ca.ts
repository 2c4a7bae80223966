/**
 * The cluster's certificate authority: ECDSA P-256 certificates (RFC 5280), made with @peculiar/x509 on Node's WebCrypto.
 * The subject says who holds one: CN = id, OU = role, O = cluster id. It is always the signer that writes it.
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  cryptoProvider,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { messageOf, WeftError } from '#base/errors.js';
import { identityOf, type Identity } from './identity.js';

cryptoProvider.set(webcrypto as unknown as Parameters<typeof cryptoProvider.set>[1]);

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
/** Clocks of hosts differ: certificates begin this much in the past. */
const SKEW_MS = 300_000;
const LEAF_DAYS = 365;

export interface Ca {
  certPem: string;
  keyPem: string;
}

export interface Subject {
  role: Identity['role'];
  id: string;
  clusterId: string;
}

const newKeys = () => webcrypto.subtle.generateKey(EC, true, ['sign', 'verify']);

async function privateKeyPem(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY') + '\n';
}

const importKey = (pem: string) => webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), EC, false, ['sign']);

/** Distinguished name values are ours (ids, roles): escape what RFC 4514 gives a meaning all the same. */
const subjectName = (s: Subject): string => `CN=${escapeDn(s.id)},OU=${s.role},O=${escapeDn(s.clusterId)}`;
const escapeDn = (value: string): string => value.replace(/[,+"\\<>;=#]/g, (c) => `\\${c}`);

const serialNumber = (): string =>
  Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)).map((b, i) => (i === 0 ? b & 0x7f : b))).toString('hex');

export async function createCa(clusterId: string): Promise<Ca> {
  const keys = await newKeys();
  const now = Date.now();
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: `CN=Weft CA,O=${escapeDn(clusterId)}`,
    notBefore: new Date(now - SKEW_MS),
    notAfter: new Date(now + CA_DAYS * DAY_MS),
    signingAlgorithm: EC,
    keys,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    ],
  });
  return { certPem: certificate.toString('pem') + '\n', keyPem: await privateKeyPem(keys) };
}

/** A key made here, and the request to certify it. The key never leaves the machine. */
export async function createCsr(): Promise<{ csrPem: string; keyPem: string }> {
  const keys = await newKeys();
  const csr = await Pkcs10CertificateRequestGenerator.create({ name: 'CN=unnamed', keys, signingAlgorithm: EC });
  return { csrPem: csr.toString('pem') + '\n', keyPem: await privateKeyPem(keys) };
}

/**
 * Certifies the key of a request for `subject`; what the request itself says of its subject is ignored.
 * @throws BAD_VALUE when the request does not parse or is not signed by its own key
 */
export async function signCsr(
  ca: Ca,
  csrPem: string,
  subject: Subject,
  extraNames: { type: 'ip' | 'dns'; value: string }[] = [],
): Promise<string> {
  const csr = parseCsr(csrPem);
  if (!(await csr.verify())) throw new WeftError('BAD_VALUE', 'the certificate request is not signed by its own key');
  const authority = new X509Certificate(ca.certPem);
  const now = Date.now();
  const certificate = await X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: subjectName(subject),
    issuer: authority.subject,
    notBefore: new Date(now - SKEW_MS),
    notAfter: new Date(now + LEAF_DAYS * DAY_MS),
    publicKey: await csr.publicKey.export(),
    signingKey: await importKey(ca.keyPem),
    signingAlgorithm: EC,
    extensions: [
      new BasicConstraintsExtension(false, undefined, true),
      new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth, ExtendedKeyUsage.serverAuth]),
      new SubjectAlternativeNameExtension([{ type: 'dns', value: `${subject.role}.weft` }, ...extraNames]),
    ],
  });
  return certificate.toString('pem') + '\n';
}

function parseCsr(pem: string): Pkcs10CertificateRequest {
  try {
    return new Pkcs10CertificateRequest(pem);
  } catch (error) {
    throw new WeftError('BAD_VALUE', { what: 'the certificate request does not parse', why: messageOf(error) });
  }
}

/** A whole identity at once, for the signer's own machine. */
export async function issue(ca: Ca, subject: Subject, extraNames: { type: 'ip' | 'dns'; value: string }[] = []): Promise<Identity> {
  const { csrPem, keyPem } = await createCsr();
  return identityOf({ caPem: ca.certPem, certPem: await signCsr(ca, csrPem, subject, extraNames), keyPem });
}
