/**
 * Joining: a token and a certificate request in, a certificate out. A token works once: it is deleted in the transaction
 * that writes the node's record. Wrong, used and expired tokens look the same from outside.
 */
import { randomBytes } from 'node:crypto';
import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import type { Clock } from '#base/clock.js';
import { WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { tokenSchema, type Token } from '#model/cluster.js';
import { decode } from '#model/codec.js';
import { keys } from '#model/keys.js';
import { checkName, HOSTNAME_PATTERN } from '#model/names.js';
import type { ClusterState } from '#planner/cluster-state.js';
import { isIpv4 } from '#base/address.js';
import type { SignCertificateRequest, SignCertificateResponse } from '#rpc/gen/weft/v1/api.js';
import { unary } from '#rpc/server.js';
import type { Compare, Store, Write } from '#store/store.js';
import { signCsr, type Ca } from '#trust/ca.js';
import { parseSecretPart, secretMatches } from '#trust/token.js';
import type { ClusterFollower } from '../cluster/follower.js';
import { apiAddresses } from './controller-calls.js';
import { registerNode } from './register-node.js';

export interface JoinTools {
  follower: ClusterFollower;
  store: Store;
  clock: Clock;
  log: Log;
  ca: Ca;
}

const CLUSTER_WAIT_MS = 5_000;
/** Compared with when there is no such token, so that both cases take the same time. */
const NO_HASH = '0'.repeat(64);

interface Pass {
  token: Token;
  compares: Compare[];
  writes: Write[];
}

export class JoinCalls {
  readonly #tools: JoinTools;

  constructor(tools: JoinTools) {
    this.#tools = tools;
  }

  implementation(): UntypedServiceImplementation {
    return { signCertificate: unary<SignCertificateRequest, SignCertificateResponse>(['none'], this.sign) };
  }

  sign = async (request: SignCertificateRequest): Promise<SignCertificateResponse> => {
    const { follower, ca, log } = this.#tools;
    // A controller that has just started makes the cluster within moments.
    await follower.until(() => follower.model.cluster !== undefined, CLUSTER_WAIT_MS, 'the cluster');
    follower.requireCurrent();
    const pass = await this.#check(request.token);
    const { cluster } = follower.model;
    if (!cluster) throw new WeftError('UNAVAILABLE', 'the cluster is not made yet');
    const { role } = pass.token;
    checkRole(request.role, role);
    const isHost = role !== 'admin';
    const id = isHost ? randomBytes(8).toString('hex') : adminName(request.name);
    if (isHost) checkAddress(request.address, role);
    if (role === 'controller') checkController(follower.model, request);
    const extra = isHost ? [{ type: 'ip' as const, value: request.address }] : [];
    const certificatePem = await signCsr(ca, request.csrPem, { role, id, clusterId: cluster.id }, extra);
    if (role === 'node')
      await registerNode(this.#tools.store, follower, this.#tools.clock, { id, name: request.name, address: request.address }, pass);
    else await this.#spend(pass);
    log.info({ role, id, name: request.name }, 'a certificate was signed');
    return {
      certificatePem,
      caPem: ca.certPem,
      nodeId: role === 'node' ? id : '',
      clusterId: cluster.id,
      controllers: apiAddresses(follower.model),
    };
  };

  /** @throws TOKEN_INVALID */
  async #check(text: string): Promise<Pass> {
    const { id, secret } = parseSecretPart(text);
    const key = keys.token(id);
    const entry = await this.#tools.store.get(key);
    const token = entry && decode(tokenSchema, entry.value, key);
    const matches = secretMatches(secret, token?.secretHash ?? NO_HASH);
    if (!entry || !token || !matches || token.expiresAt <= this.#tools.clock.now()) {
      throw new WeftError('TOKEN_INVALID', { what: 'the token is not valid', why: 'it is unknown, was used, or has expired' });
    }
    return { token, compares: [{ key, modRevision: entry.modRevision }], writes: [{ delete: key }] };
  }

  async #spend(pass: Pass): Promise<void> {
    const result = await this.#tools.store.txn(pass.compares, pass.writes);
    if (!result.ok)
      throw new WeftError('TOKEN_INVALID', { what: 'the token is not valid', why: 'it is unknown, was used, or has expired' });
  }
}

const NEWCOMERS: Readonly<Record<Token['role'], { called: string; command: string }>> = {
  node: { called: 'nodes', command: 'ctl node token' },
  controller: { called: 'controllers', command: 'ctl controller token' },
  admin: { called: 'users', command: 'ctl node token --role admin' },
};

/**
 * Before anything is written: a controller that comes with the token of a node must not leave the record of a node behind.
 * @param asked what the newcomer is, where it says so
 * @throws TOKEN_INVALID
 */
function checkRole(asked: string | undefined, role: Token['role']): void {
  if (asked === undefined || asked === role) return;
  const known = tokenSchema.shape.role.safeParse(asked);
  if (!known.success) throw new WeftError('BAD_VALUE', 'nobody joins in such a role');
  throw notFor(known.data, role);
}

const notFor = (newcomer: Token['role'], role: Token['role']): WeftError =>
  new WeftError('TOKEN_INVALID', {
    what: `this token is not for ${NEWCOMERS[newcomer].called}`,
    why: `it makes a certificate of the role "${role}"`,
    hint: `Make one with \`${NEWCOMERS[newcomer].command}\`.`,
  });

/** @throws TOKEN_INVALID for a user, who names no address; BAD_ADDRESS */
function checkAddress(address: string, role: Token['role']): void {
  if (isIpv4(address)) return;
  if (address !== '') throw new WeftError('BAD_ADDRESS', `a ${role} joins with its IPv4 address`);
  throw notFor('admin', role);
}

/** @throws BAD_NAME; CONFLICT when another controller has the name or the address */
function checkController(state: ClusterState, { name, address }: SignCertificateRequest): void {
  checkName(name, 'the controller', HOSTNAME_PATTERN);
  const other = [...state.controllers.values()].find((c) => c.name === name || c.address === address);
  if (!other) return;
  throw new WeftError('CONFLICT', {
    what: `controller ${name} cannot join`,
    why: `${other.name === name ? `the name ${name}` : `the address ${address}`} belongs to controller ${other.name} (${other.id})`,
    hint: `Choose another with --name, or remove the old controller first: \`ctl controller rm ${other.name}\`.`,
  });
}

const adminName = (name: string): string => (name === '' ? `admin-${randomBytes(4).toString('hex')}` : checkName(name, 'the user'));
