/**
 * The agent: makes this node's kernel and container runtime match what the node was assigned. SIGTERM and SIGINT end the
 * agent alone: containers, networks, name server and log keeper go on, and the next agent finds them.
 */
import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '#base/clock.js';
import { asWeftError, messageOf, WeftError } from '#base/errors.js';
import type { Log } from '#base/log.js';
import { isPassing, untilItWorks } from '#base/retry.js';
import { entry } from '#linux/enter.js';
import { keepDockerUser } from '#linux/docker-user.js';
import { readFindings, type FirewallMode } from '#linux/host-findings.js';
import { CommandHelper } from '#linux/helper-client.js';
import { readHostFacts } from '#linux/host-facts.js';
import { hasSctp, probeFeatures } from '#linux/host-features.js';
import { watchKernel } from '#linux/kernel-watch.js';
import { LinuxKernel } from '#linux/linux-kernel.js';
import { listeningPorts } from '#linux/listening-ports.js';
import { KernelReconciler } from '#linux/reconciler.js';
import type { Run } from '#linux/runner.js';
import { findWireguard, seeTunnel } from '#linux/wireguard.js';
import { marksOfImages } from '#model/held-images.js';
import { SCTP_FEATURE } from '#model/ports.js';
import { WIREGUARD_FEATURE } from '#model/tunnel.js';
import { openContainerd } from '#runtime/containerd.js';
import type { Runtime } from '#runtime/runtime.js';
import { agentLog } from './agent-log.js';
import { startAgent } from './agent.js';
import { ensureMembership } from './join.js';
import { layout } from './layout.js';
import { takeLock } from './lock.js';
import { ensureLogKeeper } from './log-keeper/ensure.js';
import { ensureNameServer } from './name-server-link.js';
import { parseOptions, type AgentOptions } from './options.js';
import { ensurePortProxy } from './port-proxy/link.js';
import { NodeTunnelKeys } from './tunnel-keys.js';
import { weftVersion } from './version.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
/** An end in order takes no longer than this. */
const STOP_MS = 5_000;

async function main(options: AgentOptions, log: Log, signal: AbortSignal): Promise<() => Promise<void>> {
  const paths = layout(options.dataDir, options.runDir);
  await mkdir(paths.dataDir, { recursive: true, mode: 0o700 });
  const release = await takeLock(paths.pidFile);
  const context = { clock: systemClock, log, signal };
  const membership = await untilItWorks(
    'joining',
    () => ensureMembership(options, paths, log),
    context,
    (error) => !isPassing(error),
  );
  // The directory tells whose it is.
  const helper = new CommandHelper([here('./command-helper/main.js'), '--data-dir', options.dataDir]);
  let containerd = '';
  let runtime: Runtime | undefined;
  const seat = entry(undefined, helper.run);
  const tunnelKeys = await NodeTunnelKeys.open(paths.keys, systemClock.now());
  const features = featuresOf(helper.run, options.firewall).catch((error: unknown) => {
    log.warn({ error: messageOf(error) }, 'could not try what this kernel can do');
    return [];
  });
  const kernel = new KernelReconciler({
    kernel: new LinuxKernel({
      runner: helper.run,
      sessions: helper.sessions,
      standby: helper.standby,
      secrets: tunnelKeys,
      scratchDir: paths.runDir,
    }),
    log,
  });
  const agent = await startAgent(
    options,
    paths,
    {
      membership,
      openRuntime: async () => {
        runtime = await openContainerd({
          socket: options.containerdSocket,
          namespace: options.containerdNamespace,
          stateDir: join(options.runDir, 'runtime'),
          log,
        });
        containerd = await runtime.version();
        return runtime;
      },
      kernel,
      run: helper.run,
      kernelEvents: (onEvent) => watchKernel({ helper, clock: systemClock, log }, onEvent),
      tunnelKeys,
      seeTunnel: (dev) => seeTunnel(seat, dev),
      keepDockerUser: () => keepDockerUser(seat, options.firewall === 'own+docker'),
      openNameServer: (onUp) =>
        ensureNameServer({
          mainPath: here('./name-server/main.js'),
          control: paths.nameServerSocket,
          state: paths.nameServerState,
          log,
          onUp,
        }),
      listening: listeningPorts,
      openPortProxy: (onUp) =>
        ensurePortProxy({ mainPath: here('./port-proxy/main.js'), control: paths.portProxySocket, state: paths.portProxyState, log, onUp }),
      openLogKeeper: () =>
        ensureLogKeeper({ mainPath: here('./log-keeper/main.js'), control: paths.logKeeperSocket, state: paths.logKeeperState, log }),
      readHost: async () => {
        const forwards = kernel.madeSetting('net.ipv4.ip_forward') === '1';
        const { underlay, ...host } = await readHostFacts({ address: options.address, runner: helper.run });
        return {
          ...host,
          hostname: hostname(),
          name: options.name,
          address: options.address,
          features: await features,
          images: await heldImages(runtime, log),
          findings: await readFindings(seat, { mode: options.firewall, underlay, features: await features, forwards }),
          versions: { ...host.versions, agent: weftVersion(), node: process.versions.node, containerd },
        };
      },
      clock: systemClock,
      log,
    },
    signal,
  );
  return async () => {
    await agent.stop();
    helper.stop();
    await release();
  };
}

/** What tasks need not wait for here; nothing is said of it while the runtime is not there. */
async function heldImages(runtime: Pick<Runtime, 'listImages'> | undefined, log: Log): Promise<string[]> {
  try {
    return marksOfImages(((await runtime?.listImages()) ?? []).map(({ digest }) => digest));
  } catch (error) {
    log.debug({ error: messageOf(error) }, 'could not list the images');
    return [];
  }
}

/** What is not guarded is not encrypted: frames in clear would be taken in beside the tunnel. */
async function featuresOf(runner: Run, firewall: FirewallMode): Promise<string[]> {
  const [made, wireguard, sctp] = await Promise.all([probeFeatures(runner), findWireguard(runner), hasSctp()]);
  const features = sctp ? [...made, SCTP_FEATURE] : made;
  return wireguard === undefined || firewall === 'none' ? features : [...features, WIREGUARD_FEATURE];
}

function die(log: Log | undefined, thrown: unknown): never {
  const error = asWeftError(thrown);
  log?.error(
    {
      code: error.code,
      why: error.why,
      stack: error.code === 'INTERNAL' ? (error.cause instanceof Error ? error.cause.stack : error.stack) : undefined,
    },
    `the agent ends: ${error.message}`,
  );
  process.stderr.write(`agent: ${error.what}\n${error.why ? `       ${error.why}\n` : ''}       ${error.hint}\n`);
  process.exit(error.exit);
}

/** Runs until a signal ends it. @param argv options, without node and file */
export function program(argv: readonly string[]): void {
  let log: Log | undefined;
  try {
    const options = parseOptions(argv, process.env);
    log = agentLog(options.logLevel, { app: 'agent', on: options.name });
    run(options, log);
  } catch (error) {
    die(log, error);
  }
}

function run(options: AgentOptions, log: Log): void {
  const stopping = new AbortController();
  const started = main(options, log, stopping.signal);
  let ending = false;
  const end = (signal: string): void => {
    if (ending) return;
    ending = true;
    log.info({ signal }, 'the agent ends; containers, networks and companions stay');
    stopping.abort(new WeftError('UNAVAILABLE', 'the agent is ending'));
    setTimeout(() => process.exit(0), STOP_MS).unref();
    started
      .then((stop) => stop())
      .then(
        () => process.exit(0),
        () => process.exit(0),
      );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => undefined);
  // What nobody caught has left something half done: the next agent begins from what is there.
  process.on('uncaughtException', (error) => die(log, error));
  process.on('unhandledRejection', (error) => die(log, error));
  started.catch((error: unknown) => {
    if (!ending) die(log, error);
  });
}
