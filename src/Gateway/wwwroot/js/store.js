// What stays in this browser: conversations in IndexedDB, small wishes in localStorage. Where a browser keeps nothing, both last as long as the page.

const databaseName = 'tpserve', storeName = 'conversations';
const memory = new Map();
let opened = null;

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(databaseName, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(storeName, { keyPath: 'id' });
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  }).catch(() => null);
  return opened;
}

async function use(mode, work) {
  const database = await open();
  if (!database)
    return undefined;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(storeName, mode);
    const request = work(transaction.objectStore(storeName));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

/** All conversations, the latest first. */
export async function readConversations() {
  const kept = await use('readonly', store => store.getAll()) ?? [...memory.values()];
  return kept.sort((one, other) => other.updated - one.updated);
}

/** Keeps a conversation as it is now. */
export async function writeConversation(conversation) {
  if (await open())
    await use('readwrite', store => store.put(conversation));
  else
    memory.set(conversation.id, structuredClone(conversation));
}

/** Forgets a conversation. */
export async function deleteConversation(id) {
  memory.delete(id);
  await use('readwrite', store => store.delete(id));
}

/** A wish that was kept, or what it is otherwise. */
export function readWish(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`tpserve.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** Keeps a wish. */
export function writeWish(name, value) {
  try {
    localStorage.setItem(`tpserve.${name}`, JSON.stringify(value));
  } catch {
    // Asked again after a reload.
  }
}
