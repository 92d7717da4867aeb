#!/usr/bin/env node
// Says in one sentence what an old Node would say in a stack trace; so nothing newer than that Node may be written or imported here.
const OLDEST = [22, 18]

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < OLDEST[0]! || (major === OLDEST[0] && minor < OLDEST[1]!)) {
  process.stderr.write(
    `Posthaste needs Node ${OLDEST.join('.')} or newer, and this is ${process.version}: https://nodejs.org\n`,
  )
  process.exit(1)
}

const { enableCompileCache } = await import('node:module')
enableCompileCache()

const { program } = await import('./program.ts')
await program(process.argv.slice(2))
