/** Whether somebody listens on a unix socket: the file alone does not tell, for it outlives a process that was killed. */
import { connect } from 'node:net';

export const isLive = (path: string): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
