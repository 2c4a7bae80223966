/** The API that ctl speaks: each method one line, for administrators only. */
import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import type * as o from '#rpc/gen/weft/v1/operations.js';
import type * as m from '#rpc/gen/weft/v1/api.js';
import { bidi, serverStream, unary, type Role } from '#rpc/server.js';
import type { ClusterFollower } from '../cluster/follower.js';
import type { ControllerCalls } from './controller-calls.js';
import type { CopyCalls } from './copy-calls.js';
import type { EventCalls } from './event-calls.js';
import type { ExecCalls } from './exec-calls.js';
import type { FileCalls } from './file-calls.js';
import type { VolumeCalls } from './volume-calls.js';
import type { ImageCalls } from './image-calls.js';
import type { LogCalls } from './log-calls.js';
import type { NetworkCalls } from './network-calls.js';
import { networkRows } from './network-rows.js';
import type { NodeCalls } from './node-calls.js';
import { endedRows, nodeRows, stackSummaries, taskRows } from './rows.js';
import type { RebalanceCalls } from './rebalance-calls.js';
import type { TraceCalls } from './trace-calls.js';
import type { TaskCalls } from './task-calls.js';
import type { StackCalls } from './stack-calls.js';
import type { TransferCalls } from './transfer-calls.js';

export interface ApiCalls {
  follower: ClusterFollower;
  stacks: StackCalls;
  rebalance: RebalanceCalls;
  nodes: NodeCalls;
  controllers: ControllerCalls;
  networks: NetworkCalls;
  trace: TraceCalls;
  files: FileCalls;
  volumes: VolumeCalls;
  images: ImageCalls;
  transfers: TransferCalls;
  logs: LogCalls;
  exec: ExecCalls;
  copy: CopyCalls;
  tasks: TaskCalls;
  events: EventCalls;
}

const ADMIN: readonly Role[] = ['admin'];
/** What a controller passes on to the one that holds an agent's stream. */
const PASSED_ON: readonly Role[] = ['admin', 'controller'];

export function apiImplementation({
  follower,
  stacks,
  rebalance,
  nodes,
  controllers,
  networks,
  trace,
  files,
  volumes,
  images,
  transfers,
  logs,
  exec,
  copy,
  tasks,
  events,
}: ApiCalls): UntypedServiceImplementation {
  return {
    getCluster: unary<m.GetClusterRequest, m.GetClusterResponse>(ADMIN, nodes.cluster),
    planStack: unary<m.PlanStackRequest, m.PlanStackResponse>(ADMIN, stacks.plan),
    applyStack: unary<m.ApplyStackRequest, m.ApplyStackResponse>(ADMIN, stacks.apply),
    removeStack: unary<m.RemoveStackRequest, m.RemoveStackResponse>(ADMIN, stacks.remove),
    rollbackStack: unary<m.RollbackStackRequest, m.RollbackStackResponse>(ADMIN, stacks.rollback),
    operateStack: unary<o.OperateStackRequest, m.OperateStackResponse>(ADMIN, stacks.operate),
    rebalance: unary<o.RebalanceRequest, o.RebalanceResponse>(ADMIN, rebalance.rebalance),
    signalTasks: unary<o.SignalTasksRequest, o.SignalTasksResponse>(ADMIN, tasks.signal),
    restartTasks: unary<o.RestartTasksRequest, o.RestartTasksResponse>(ADMIN, tasks.restart),
    listProcesses: unary<o.ListProcessesRequest, o.ListProcessesResponse>(ADMIN, tasks.processes),
    watchStats: serverStream<o.WatchStatsRequest, o.WatchStatsResponse>(ADMIN, (request, _peer, signal) => tasks.stats(request, signal)),
    watchEvents: serverStream<o.WatchEventsRequest, o.WatchEventsResponse>(ADMIN, (request, _peer, signal) =>
      events.watch(request, signal),
    ),
    listStacks: unary<m.ListStacksRequest, m.ListStacksResponse>(ADMIN, async () => ({ stacks: stackSummaries(follower.model) })),
    watchStack: serverStream<m.WatchStackRequest, m.StackState>(ADMIN, (request, _peer, signal) => stacks.watch(request, signal)),
    listTasks: unary<m.ListTasksRequest, m.ListTasksResponse>(ADMIN, async ({ stack }) => ({
      tasks: taskRows(follower.model, stack),
      ended: endedRows(follower.model, stack),
    })),
    listNodes: unary<m.ListNodesRequest, m.ListNodesResponse>(ADMIN, async () => ({ nodes: nodeRows(follower.model) })),
    createToken: unary<m.CreateTokenRequest, m.CreateTokenResponse>(ADMIN, nodes.createToken),
    rotateNodeKeys: unary<m.RotateNodeKeysRequest, m.RotateNodeKeysResponse>(PASSED_ON, nodes.rotateKeys),
    acceptNode: unary<m.AcceptNodeRequest, m.AcceptNodeResponse>(PASSED_ON, nodes.accept),
    updateNode: unary<m.UpdateNodeRequest, m.UpdateNodeResponse>(ADMIN, nodes.update),
    removeNode: unary<m.RemoveNodeRequest, m.RemoveNodeResponse>(ADMIN, nodes.remove),
    listControllers: unary<m.ListControllersRequest, m.ListControllersResponse>(ADMIN, controllers.list),
    removeController: unary<m.RemoveControllerRequest, m.RemoveControllerResponse>(ADMIN, controllers.remove),
    listNetworks: unary<m.ListNetworksRequest, m.ListNetworksResponse>(ADMIN, async ({ stack }) => ({
      networks: networkRows(follower.model, stack),
    })),
    createNetwork: unary<m.CreateNetworkRequest, m.CreateNetworkResponse>(ADMIN, networks.create),
    updateNetwork: unary<m.UpdateNetworkRequest, m.UpdateNetworkResponse>(ADMIN, networks.update),
    removeNetwork: unary<m.RemoveNetworkRequest, m.RemoveNetworkResponse>(ADMIN, networks.remove),
    connectNetwork: unary<m.ConnectNetworkRequest, m.ConnectNetworkResponse>(ADMIN, networks.connect),
    disconnectNetwork: unary<m.DisconnectNetworkRequest, m.DisconnectNetworkResponse>(ADMIN, networks.disconnect),
    checkNetworks: unary<m.CheckNetworksRequest, m.CheckNetworksResponse>(ADMIN, networks.check),
    traceNetwork: unary<m.TraceNetworkRequest, m.TraceNetworkResponse>(ADMIN, trace.trace),
    diagnoseNetworks: unary<m.DiagnoseNetworksRequest, m.DiagnoseNetworksResponse>(ADMIN, trace.diagnose),
    storeFile: unary<m.StoreFileRequest, m.StoreFileResponse>(ADMIN, files.store),
    findTrees: unary<m.FindTreesRequest, m.FindTreesResponse>(ADMIN, files.findTrees),
    storeTreeChunk: unary<m.StoreTreeChunkRequest, m.StoreTreeChunkResponse>(ADMIN, files.storeTreeChunk),
    listVolumes: unary<m.ListVolumesRequest, m.ListVolumesResponse>(ADMIN, volumes.list),
    createVolume: unary<m.CreateVolumeRequest, m.CreateVolumeResponse>(ADMIN, volumes.create),
    removeVolume: unary<m.RemoveVolumeRequest, m.RemoveVolumeResponse>(ADMIN, volumes.remove),
    listFiles: unary<m.ListFilesRequest, m.ListFilesResponse>(ADMIN, files.list),
    createFile: unary<m.CreateFileRequest, m.CreateFileResponse>(ADMIN, files.create),
    removeFile: unary<m.RemoveFileRequest, m.RemoveFileResponse>(ADMIN, files.remove),
    listImages: unary<m.ListImagesRequest, m.ListImagesResponse>(ADMIN, images.list),
    loadImage: bidi<m.LoadImageRequest, m.ImageProgress>(ADMIN, (requests, _peer, signal) => images.load(requests, signal)),
    prepareImages: serverStream<m.PrepareImagesRequest, m.ImageProgress>(ADMIN, (request, _peer, signal) =>
      images.prepare(request, signal),
    ),
    pushImages: bidi<m.ImageTransfer, m.ImageTransfer>(ADMIN, (requests, _peer, signal) => transfers.push(requests, signal)),
    logs: serverStream<m.LogsRequest, m.LogsResponse>(ADMIN, (request, _peer, signal) => logs.read(request, signal)),
    exec: bidi<m.ExecRequest, m.ExecResponse>(ADMIN, (requests, _peer, signal) => exec.exec(requests, signal)),
    attach: bidi<m.ExecRequest, m.ExecResponse>(ADMIN, (requests, _peer, signal) => exec.attach(requests, signal)),
    statPath: unary<m.StatPathRequest, m.StatPathResponse>(ADMIN, copy.stat),
    copyOut: serverStream<m.CopyOutRequest, m.CopyOutResponse>(ADMIN, (request, _peer, signal) => copy.out(request, signal)),
    copyIn: bidi<m.CopyInRequest, m.CopyInResponse>(ADMIN, (requests, _peer, signal) => copy.in(requests, signal)),
  };
}
