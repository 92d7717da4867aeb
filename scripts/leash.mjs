// Preloaded by ensure.mjs: a script ends when the process that started it is gone, even by SIGKILL, so that nothing of it stays behind.
const parent = Number(process.env.POSTHASTE_LEASH)

if (parent === process.ppid) {
  setInterval(() => process.ppid !== parent && process.exit(1), 200).unref()
}
