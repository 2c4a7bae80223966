/** The flags that say which project is meant, before the command or after it. */
import { Option, type Command } from 'commander';

export interface ProjectFlags {
  file?: string[];
  projectName?: string;
  projectDirectory?: string;
  profile?: string[];
  envFile?: string[];
}

const gather = (value: string, all: string[] = []): string[] => [...all, value];

/** Adds the flags that say which project is meant; only --file or --project-name where -f or -p means something else. */
export function projectOptions(command: Command, fileFlags = '-f, --file <file>', nameFlags = '-p, --project-name <name>'): Command {
  return command
    .addOption(
      new Option(
        fileFlags,
        'a compose file, each merged over those before; "-" reads standard input (default: compose.yaml here)',
      ).argParser(gather),
    )
    .option(nameFlags, 'the name of the stack (else COMPOSE_PROJECT_NAME, else "name:" in the file, else its directory)')
    .option('--project-directory <path>', 'where relative paths begin (default: the directory of the first file)')
    .addOption(new Option('--profile <name>', 'also the services of this profile').argParser(gather))
    .addOption(
      new Option('--env-file <file>', 'variables for the compose file (default: .env in the project directory)').argParser(gather),
    );
}

/** Flags of `ctl` itself that are followed by a value: the command is the first word that is none. */
export const VALUE_FLAGS: ReadonlySet<string> = new Set([
  '--context',
  '-f',
  '--file',
  '-p',
  '--project-name',
  '--project-directory',
  '--profile',
  '--env-file',
]);
