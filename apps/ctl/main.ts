#!/usr/bin/env node
/** The entry of `ctl`. The build puts a loader of its bundle in place of this file (deploy/bundle.mjs). */
import { program } from './program.js';

await program(process.argv.slice(2));
