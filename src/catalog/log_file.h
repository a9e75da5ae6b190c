// LogFile: the write-ahead log, written once a commit.
//
// SQLite writes each page of a commit by two calls, of 24 and of 4096 bytes. Over this VFS the
// pages of a commit are gathered and written by one. The bytes and their place in the file are
// SQLite's own, and all of them are in the file before the last page's write returns: that page
// marks the commit, and nobody looks for a commit before SQLite has gone on from there.
//
// Thread safety: of the VFS, any thread; of a file, as its connection.
#pragma once

namespace barcache {

// The name for sqlite3_open_v2 (registered by the first call); nullptr, for SQLite's own, where
// it could not be registered.
const char* GatheringVfs();

}  // namespace barcache
