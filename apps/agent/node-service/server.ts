/** The agent's listener: what controllers ask of a node. mTLS, controllers only, on the underlay address. */
import { NodeService, type NodeServer, type ProbeRequest } from '#rpc/gen/weft/v1/api.js';
import { bidi, serverStream, startServer, unary, type Role } from '#rpc/server.js';
import type { Identity } from '#trust/identity.js';
import { attachToTask, type AttachCallDeps } from './attach.js';
import { checkKernel, probe, type CheckDeps } from './check.js';
import { copyIn, copyOut, statPath, type CopyCallDeps } from './copy.js';
import { execInTask, type ExecCallDeps } from './exec.js';
import { listImages, loadImage, prepareImages, type ImageCallDeps } from './images.js';
import { giveImage, takeImages } from './transfer.js';
import { readLogs, type LogCallDeps } from './logs.js';
import { checkPaths } from './paths.js';
import { restartTasks, type RestartCallDeps } from './restart.js';
import { removeVolumeOf, type VolumeCallDeps } from './volumes.js';
import { listProcesses, signalTasks, watchStats, type UsageCallDeps } from './usage.js';

const ONLY_CONTROLLERS: readonly Role[] = ['controller'];

export type NodeServiceDeps = VolumeCallDeps &
  ImageCallDeps &
  LogCallDeps &
  ExecCallDeps &
  AttachCallDeps &
  CopyCallDeps &
  UsageCallDeps &
  RestartCallDeps &
  CheckDeps;

export function nodeServiceHandlers(deps: NodeServiceDeps): NodeServer {
  return {
    listImages: unary(ONLY_CONTROLLERS, () => listImages(deps)),
    loadImage: bidi(ONLY_CONTROLLERS, (requests) => loadImage(deps, requests)),
    prepareImages: serverStream(ONLY_CONTROLLERS, (request) => prepareImages(deps, request)),
    takeImages: bidi(ONLY_CONTROLLERS, (requests) => takeImages(deps, requests)),
    giveImage: bidi(ONLY_CONTROLLERS, (requests) => giveImage(deps, requests)),
    logs: serverStream(ONLY_CONTROLLERS, (request, _peer, signal) => readLogs(deps, request, signal)),
    exec: bidi(ONLY_CONTROLLERS, (requests, _peer, signal) => execInTask(deps, requests, signal)),
    attach: bidi(ONLY_CONTROLLERS, (requests, _peer, signal) => attachToTask(deps, requests, signal)),
    statPath: unary(ONLY_CONTROLLERS, (request) => statPath(deps, request)),
    copyOut: serverStream(ONLY_CONTROLLERS, (request) => copyOut(deps, request)),
    copyIn: bidi(ONLY_CONTROLLERS, (requests) => copyIn(deps, requests)),
    signalTasks: unary(ONLY_CONTROLLERS, (request) => signalTasks(deps, request)),
    restartTasks: unary(ONLY_CONTROLLERS, (request) => restartTasks(deps, request)),
    listProcesses: unary(ONLY_CONTROLLERS, (request) => listProcesses(deps, request)),
    watchStats: serverStream(ONLY_CONTROLLERS, (request, _peer, signal) => watchStats(deps, request, signal)),
    removeVolume: unary(ONLY_CONTROLLERS, ({ name }) => removeVolumeOf(deps, name)),
    checkPaths: unary(ONLY_CONTROLLERS, checkPaths),
    checkKernel: unary(ONLY_CONTROLLERS, () => checkKernel(deps)),
    probe: unary(ONLY_CONTROLLERS, (request: ProbeRequest) => probe(deps, request)),
  };
}

/** @throws UNAVAILABLE when the address cannot be bound */
export function startNodeServer(
  at: { address: string; port: number; identity: Identity },
  deps: NodeServiceDeps,
): Promise<{ port: number; stop(): Promise<void> }> {
  return startServer({ ...at, services: [{ definition: NodeService, implementation: nodeServiceHandlers(deps) }] });
}
