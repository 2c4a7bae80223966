/**
 * The command helper's side: runs what it is asked, any number at a time, until its standard input ends. It imports
 * nothing that is large, since it is small on purpose: see helper-client.ts.
 */
import { WeftError, messageOf } from '#base/errors.js';
import type { HelperAnswer, HelperRequest } from './helper-protocol.js';
import { Lines } from './helper-protocol.js';
import { run } from './runner.js';

/** Resolves when `input` ends: whoever asked is gone. */
export async function serveCommands(input: NodeJS.ReadableStream, output: NodeJS.WritableStream): Promise<void> {
  const lines = new Lines();
  input.setEncoding('utf8');
  for await (const chunk of input) {
    for (const line of lines.take(String(chunk))) {
      const request = JSON.parse(line) as HelperRequest;
      void answerTo(request).then((answer) => output.write(`${JSON.stringify(answer)}\n`));
    }
  }
}

async function answerTo({ id, argv, options }: HelperRequest): Promise<HelperAnswer> {
  try {
    return { id, result: await run(argv, options) };
  } catch (error) {
    if (!(error instanceof WeftError)) return { id, failure: { what: `"${argv[0]}" failed`, why: messageOf(error) } };
    const { what, why = '', hint } = error;
    return { id, failure: { what, why, ...(hint === undefined ? {} : { hint }) } };
  }
}
