/** Where the agent keeps things. `data` survives a reboot, `run` need not. */
import { join } from 'node:path';

export interface Layout {
  dataDir: string;
  runDir: string;
  pki: string;
  pidFile: string;
  controllersFile: string;
  imageUsesFile: string;
  volumes: string;
  /** Mount points of volumes that are mounts of something else, while a task needs them. */
  volumeMounts: string;
  /** Keys of encrypted networks: closed to everybody else. */
  keys: string;
  tasks: string;
  /** State, pid files and own logs of the companions. */
  nameServerState: string;
  logKeeperState: string;
  portProxyState: string;
  nameServerSocket: string;
  logKeeperSocket: string;
  portProxySocket: string;
  /** Files bind-mounted into the task's container. */
  taskDir(taskId: string): string;
  logFile(taskId: string): string;
  /** Configs of a task. */
  configsDir(taskId: string): string;
  /** Trees from beside compose files, by content. */
  trees: string;
  /** A task's own copies of them. */
  seedsDir(taskId: string): string;
  /** In memory: a directory for each task that has secrets. */
  secrets: string;
  /** FIFOs of the container's output. */
  stdio(taskId: string): { stdin: string; stdout: string; stderr: string };
}

export function layout(dataDir: string, runDir: string): Layout {
  const data = (...parts: string[]) => join(dataDir, ...parts);
  const run = (...parts: string[]) => join(runDir, ...parts);
  return {
    dataDir,
    runDir,
    pki: data('pki'),
    pidFile: data('agent.pid'),
    controllersFile: data('controllers.json'),
    imageUsesFile: data('image-uses.json'),
    volumes: data('volumes'),
    volumeMounts: run('volumes'),
    keys: data('keys'),
    tasks: data('tasks'),
    nameServerState: data('name-server'),
    logKeeperState: data('log-keeper'),
    portProxyState: data('port-proxy'),
    nameServerSocket: run('name-server.sock'),
    logKeeperSocket: run('log-keeper.sock'),
    portProxySocket: run('port-proxy.sock'),
    taskDir: (id) => data('tasks', id),
    configsDir: (id) => data('tasks', id, 'configs'),
    trees: data('trees'),
    seedsDir: (id) => data('tasks', id, 'seeds'),
    secrets: run('secrets'),
    logFile: (id) => data('logs', id, 'container.log'),
    stdio: (id) => ({ stdin: run('stdio', `${id}.in`), stdout: run('stdio', `${id}.out`), stderr: run('stdio', `${id}.err`) }),
  };
}
