// node scripts/containers.mjs [postgres:15 …] [vitest arguments]: the tests that speak to a server, on containers of each image:
// those of the arguments, of POSTHASTE_TEST_IMAGES (separated by commas or blanks), or PostgreSQL 14 to 18. Without a container
// runtime it fails.
import { onEach } from './servers.mjs'

const IMAGES = [14, 15, 16, 17, 18].map((major) => `postgres:${major}`)

const args = process.argv.slice(2)
const given = args.filter((arg) => /^[\w./-]+:[\w.-]+$/.test(arg))
const named = (process.env.POSTHASTE_TEST_IMAGES ?? '').split(/[\s,]+/).filter(Boolean)
const images = [given, named, IMAGES].find((some) => some.length > 0)

const missing = await withoutRuntime()
if (missing) {
  console.error(`Cannot test on containers: no container runtime answers (${missing})`)
  console.error('Start Docker or Podman, or test the same versions without containers: npm run test:versions')
  process.exit(1)
}
onEach(
  images.map((image) => ({ name: image, env: () => ({ TEST_POSTGRES_IMAGE: image }) })),
  args.filter((arg) => !given.includes(arg)),
)

async function withoutRuntime() {
  const { getContainerRuntimeClient } = await import('testcontainers')
  try {
    await getContainerRuntimeClient()
    return undefined
  } catch (error) {
    return error.message
  }
}
