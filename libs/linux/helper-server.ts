/**
 * The command helper's side: runs what it is asked, any number at a time, until its standard input ends. It imports
 * nothing that is large, since it is small on purpose: see helper-client.ts.
 */
import { WeftError, messageOf } from '#base/errors.js';
import type { HelperAnswer, HelperRequest, SessionRequest } from './helper-protocol.js';
import { Lines } from './helper-protocol.js';
import { Monitors } from './monitors.js';
import { NftSessions } from './nft-sessions.js';
import { OwnProcesses } from './own-processes.js';
import { StandbyCommands } from './standby.js';

/** Resolves when `input` ends: whoever asked is gone. */
export async function serveCommands(input: NodeJS.ReadableStream, output: NodeJS.WritableStream): Promise<void> {
  const lines = new Lines();
  const own = new OwnProcesses();
  const monitors = new Monitors(own);
  const sessions = new NftSessions(
    (pid) => own.keep(pid),
    (pid) => own.drop(pid),
  );
  const standby = new StandbyCommands();
  const say = (answer: HelperAnswer) => void output.write(`${JSON.stringify(answer)}\n`);
  input.setEncoding('utf8');
  for await (const chunk of input) {
    for (const line of lines.take(String(chunk))) {
      const request = JSON.parse(line) as HelperRequest;
      if (request.watch) monitors.start(request.id, request.watch, say);
      else void answerTo(request, { own, sessions, standby }).then(say);
    }
  }
  sessions.stop();
  standby.stop();
  monitors.stop();
}

interface Hands {
  own: OwnProcesses;
  sessions: NftSessions;
  standby: StandbyCommands;
}

async function answerTo(request: HelperRequest, { own, sessions, standby }: Hands): Promise<HelperAnswer> {
  const { id, argv, options, session } = request;
  try {
    if (session) return { id, session: await answerOf(sessions, argv, session) };
    if (request.standby) {
      await standby[request.standby](argv);
      return { id };
    }
    return { id, result: await standby.run(argv, argv.includes('nft') ? { ...options, onStart: (pid) => own.add(pid) } : options) };
  } catch (error) {
    if (!(error instanceof WeftError)) return { id, failure: { what: `"${argv[0]}" failed`, why: messageOf(error) } };
    const { what, why = '', hint } = error;
    return { id, failure: { what, why, ...(hint === undefined ? {} : { hint }) } };
  }
}

async function answerOf(sessions: NftSessions, argv: readonly string[], request: SessionRequest): Promise<HelperAnswer['session']> {
  switch (request.do) {
    case 'tell':
      return { told: await sessions.tell(argv, request.line) };
    case 'flowsOf':
      return { words: await sessions.flowsOf(argv, request.words) };
    case 'end':
      await sessions.end(argv);
      return {};
  }
}
