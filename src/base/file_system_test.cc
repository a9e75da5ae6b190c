// The cache directory: confinement, kinds of files, atomic writes, modes, removal, listing.
#include "base/file_system.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <new>
#include <set>
#include <string>
#include <thread>

namespace barcache {
namespace {

namespace fs = std::filesystem;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

std::string Text(const ByteBuffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.data()), buffer.size()};
}

mode_t ModeOf(const fs::path& path) {
  struct stat info{};
  EXPECT_EQ(::lstat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

class FileSystemTest : public testing::Test {
 protected:
  FileSystemTest()
      : root_(fs::temp_directory_path() / ("barcache_base_" + RandomHex32())),
        cache_(root_ / "cache") {}
  void SetUp() override {
    Result<Directory> opened = Directory::Open(cache_, false);
    ASSERT_TRUE(opened.ok()) << opened.status().ToString();
    directory_.emplace(std::move(opened).value());
  }
  ~FileSystemTest() override { fs::remove_all(root_); }

  // "nullopt", the status' code name, or the content.
  std::string Read(const std::string& name, int64_t max_bytes = 1 << 20) {
    Result<std::optional<ByteBuffer>> read = directory_->ReadFile(name, max_bytes);
    if (!read.ok()) return std::string(ErrorCodeName(read.status().code()));
    return read->has_value() ? Text(**read) : "nullopt";
  }
  Status Write(const std::string& name, std::string_view text, bool durable = false) {
    BARCACHE_ASSIGN_OR_RETURN(GrowingFile file, directory_->BeginFile());
    file.Append(Bytes(text));
    return file.Finish(name, durable);
  }
  size_t CountFiles() {
    return static_cast<size_t>(std::distance(fs::directory_iterator(cache_), {}));
  }

  fs::path root_;
  fs::path cache_;
  std::optional<Directory> directory_;
};

TEST_F(FileSystemTest, WritesAndReadsBack) {
  for (bool durable : {false, true}) {
    ASSERT_TRUE(Write("a", "hello", durable).ok());
    EXPECT_EQ(Read("a"), "hello");
    ASSERT_TRUE(Write("a", "replaced", durable).ok());
    EXPECT_EQ(Read("a"), "replaced");
  }
  ASSERT_TRUE(Write("empty", "").ok());
  EXPECT_EQ(Read("empty"), "");
  const std::string large(3'000'000, 'x');
  ASSERT_TRUE(Write("large", large).ok());
  EXPECT_EQ(Read("large", 3'000'000), large);
  EXPECT_EQ(CountFiles(), 3u) << "no temporary file stays";
}

TEST_F(FileSystemTest, AnUnfinishedFileIsKnownByItsName) {
  Result<GrowingFile> unfinished = directory_->BeginFile();
  ASSERT_TRUE(unfinished.ok());
  ASSERT_EQ(directory_->List()->size(), 1u);
  EXPECT_TRUE(IsTemporaryName(directory_->List()->front().name));
  const std::string letters = RandomHex32();
  EXPECT_TRUE(IsTemporaryName(".tmp-" + letters));
  for (const std::string& other : {"a" + letters, ".tmp-" + letters + "0", std::string(".tmp-"),
                                   ".tmp-" + letters.substr(1) + "g"}) {
    EXPECT_FALSE(IsTemporaryName(other)) << other;
  }
}

TEST_F(FileSystemTest, FilesAndDirectoriesAreTheOwnersAlone) {
  const mode_t before = ::umask(0);
  ASSERT_TRUE(Write("a", "x").ok());
  ASSERT_TRUE(MakeDirectories(cache_ / "one/two").ok());
  ::umask(before);
  EXPECT_EQ(ModeOf(cache_ / "a"), 0600u);
  EXPECT_EQ(ModeOf(cache_), 0700u);
  EXPECT_EQ(ModeOf(cache_ / "one"), 0700u);
  EXPECT_EQ(ModeOf(cache_ / "one/two"), 0700u);
}

TEST_F(FileSystemTest, ConfinedNames) {
  for (const char* good : {"a", "..a", "a..", "...", ".tmp-1", "~", " "}) {
    EXPECT_TRUE(IsConfinedName(good)) << good;
  }
  for (std::string_view bad : {std::string_view(""), std::string_view("."), std::string_view(".."),
                               std::string_view("a/b"), std::string_view("/a"),
                               std::string_view("../a"), std::string_view("a\0b", 3)}) {
    EXPECT_FALSE(IsConfinedName(bad)) << bad;
  }
  EXPECT_TRUE(IsConfinedName(std::string(255, 'a')));
  EXPECT_FALSE(IsConfinedName(std::string(256, 'a')));
}

// B19 of the reference: a key with "../" wrote outside the cache directory.
TEST_F(FileSystemTest, B19NothingOutsideIsTouched) {
  std::ofstream(root_ / "outside") << "secret";
  for (const std::string& name :
       {std::string("../outside"), (root_ / "outside").string(), std::string("./../outside")}) {
    EXPECT_EQ(Read(name), "nullopt");
    EXPECT_EQ(Write(name, "evil").code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(directory_->RemoveFile(name).code(), ErrorCode::kInvalidArgument);
  }
  EXPECT_TRUE(fs::exists(root_ / "outside"));
  EXPECT_EQ(fs::file_size(root_ / "outside"), 6u);
}

TEST_F(FileSystemTest, LinksAreNeverFollowed) {
  std::ofstream(root_ / "outside") << "secret";
  fs::create_symlink(root_ / "outside", cache_ / "link");
  EXPECT_EQ(Read("link"), "nullopt");
  ASSERT_TRUE(Write("link", "ours").ok()) << "the link is replaced, not what it points at";
  EXPECT_EQ(Read("link"), "ours");
  fs::create_symlink(root_ / "outside", cache_ / "other");
  ASSERT_TRUE(directory_->RemoveFile("other").ok());
  EXPECT_FALSE(fs::is_symlink(cache_ / "other"));
  EXPECT_EQ(fs::file_size(root_ / "outside"), 6u);
}

TEST_F(FileSystemTest, OnlyRegularFilesAreReadOrRemoved) {
  fs::create_directory(cache_ / "folder");
  ASSERT_EQ(::mkfifo((cache_ / "fifo").c_str(), 0600), 0);
  for (const char* name : {"folder", "fifo"}) {
    EXPECT_EQ(Read(name), "nullopt");  // A FIFO must not hang the reader.
    const Status removed = directory_->RemoveFile(name);
    EXPECT_EQ(removed.code(), ErrorCode::kIo);
    EXPECT_NE(removed.message().find(name), std::string::npos);
    EXPECT_TRUE(fs::exists(cache_ / name));
  }
  EXPECT_EQ(Write("folder", "x").code(), ErrorCode::kIo);
  EXPECT_EQ(CountFiles(), 2u) << "the failed rename left its temporary file";
}

TEST_F(FileSystemTest, AbsentFilesAreNoErrors) {
  EXPECT_EQ(Read("absent"), "nullopt");
  EXPECT_TRUE(directory_->RemoveFile("absent").ok());
  ASSERT_TRUE(Write("a", "x").ok());
  ASSERT_TRUE(directory_->RemoveFile("a").ok());
  EXPECT_EQ(Read("a"), "nullopt");
}

TEST_F(FileSystemTest, BudgetIsKept) {
  ASSERT_TRUE(Write("a", "12345").ok());
  EXPECT_EQ(Read("a", 5), "12345");
  EXPECT_EQ(Read("a", 4), "over budget");
}

TEST_F(FileSystemTest, UnreadableFileIsAnErrorNamingThePath) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  ASSERT_TRUE(Write("a", "x").ok());
  ::chmod((cache_ / "a").c_str(), 0);
  const Result<std::optional<ByteBuffer>> read = directory_->ReadFile("a", 10);
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.status().system_errno(), EACCES);
}

TEST_F(FileSystemTest, ListsEverythingWithItsKind) {
  ASSERT_TRUE(Write("a", "12345").ok());
  fs::create_symlink("a", cache_ / "link");
  fs::create_directory(cache_ / "folder");
  for (int round = 0; round < 2; ++round) {  // The position in the directory is not kept.
    Result<std::vector<FileInfo>> listed = directory_->List();
    ASSERT_TRUE(listed.ok());
    std::sort(listed->begin(), listed->end(),
              [](const FileInfo& x, const FileInfo& y) { return x.name < y.name; });
    ASSERT_EQ(listed->size(), 3u);
    EXPECT_EQ((*listed)[0].name, "a");
    EXPECT_EQ((*listed)[0].size_bytes, 5);
    EXPECT_TRUE((*listed)[0].is_regular);
    EXPECT_NEAR(static_cast<double>((*listed)[0].modified_s), static_cast<double>(time(nullptr)),
                60);
    EXPECT_FALSE((*listed)[1].is_regular);
    EXPECT_FALSE((*listed)[2].is_regular);
  }
}

TEST_F(FileSystemTest, ReadOnlyOpenMakesNothing) {
  const Result<Directory> opened = Directory::Open(root_ / "absent", true);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.status().code(), ErrorCode::kIo);
  EXPECT_EQ(opened.status().system_errno(), ENOENT);
  EXPECT_FALSE(fs::exists(root_ / "absent"));
  EXPECT_TRUE(Directory::Open(cache_, true).ok());
}

TEST_F(FileSystemTest, MakesDirectoriesOfAnyForm) {
  const std::string base = root_.string();
  for (const std::string& path : {base + "/a/b/c", base + "/d//e///", base + "/a/../f", base}) {
    EXPECT_TRUE(MakeDirectories(path).ok()) << path;
    EXPECT_TRUE(fs::is_directory(path)) << path;
  }
  const fs::path before = fs::current_path();
  fs::current_path(root_);
  EXPECT_TRUE(MakeDirectories("relative/inner").ok());
  fs::current_path(before);
  EXPECT_TRUE(fs::is_directory(root_ / "relative/inner"));
  fs::create_directory_symlink(root_ / "a", root_ / "link");
  EXPECT_TRUE(MakeDirectories(base + "/link/through").ok());
}

TEST_F(FileSystemTest, MakeDirectoriesSaysWhatIsInTheWay) {
  std::ofstream(root_ / "file") << "x";
  for (const char* path : {"file", "file/inner"}) {
    const Status made = MakeDirectories((root_ / path).string());
    EXPECT_EQ(made.code(), ErrorCode::kIo);
    EXPECT_NE(made.message().find("file"), std::string::npos);
  }
  EXPECT_EQ(MakeDirectories("").code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(MakeDirectories(std::string("a\0b", 3)).code(), ErrorCode::kInvalidArgument);
}

TEST_F(FileSystemTest, WantOfMemoryLeavesNoFile) {
  const auto write = [&] {
    Result<GrowingFile> file = directory_->BeginFile();
    file->Append(Bytes("x"));
    throw std::bad_alloc();
  };
  EXPECT_THROW(write(), std::bad_alloc);
  EXPECT_TRUE(directory_->List()->empty());
}

TEST_F(FileSystemTest, AGrowingFileHasItsNameOnlyWhenItIsFinished) {
  ASSERT_TRUE(Write("a", "before").ok());
  {
    Result<GrowingFile> begun = directory_->BeginFile();
    ASSERT_TRUE(begun.ok());
    GrowingFile file = std::move(*begun);  // What was moved from takes nothing away.
    file.Append(Bytes("af"));
    file.Append({});
    file.Append(Bytes("ter"));
    EXPECT_EQ(Read("a"), "before");
    const std::vector<FileInfo> files = directory_->List().value();
    ASSERT_EQ(files.size(), 2u);
    for (const FileInfo& info : files) {
      EXPECT_TRUE(info.name == "a" || IsTemporaryName(info.name)) << info.name;
      EXPECT_EQ(fs::status(cache_ / info.name).permissions(),
                fs::perms::owner_read | fs::perms::owner_write);
    }
    EXPECT_EQ(file.Finish("../a", false).code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(directory_->List()->size(), 1u);
  }
  {
    Result<GrowingFile> file = directory_->BeginFile();
    file->Append(Bytes("after"));
    ASSERT_TRUE(file->Finish("a", true).ok());
  }
  EXPECT_EQ(Read("a"), "after");
  EXPECT_EQ(directory_->List()->size(), 1u);
}

TEST_F(FileSystemTest, AGrowingFileThatIsNotFinishedIsTakenAway) {
  {
    Result<GrowingFile> file = directory_->BeginFile();
    file->Append(Bytes("text"));
    EXPECT_EQ(directory_->List()->size(), 1u);
  }
  EXPECT_TRUE(directory_->List()->empty());
}

TEST_F(FileSystemTest, ReadersNeverSeeATornFile) {
  ASSERT_TRUE(Write("a", std::string(50'000, 'a')).ok());
  std::atomic<bool> done = false;
  int torn = 0;
  std::thread writer([&] {
    for (int i = 0; i < 300; ++i) {
      const std::string text(static_cast<size_t>(40'000 + i * 37), static_cast<char>('a' + i % 26));
      if (!Write("a", text).ok()) break;
    }
    done = true;
  });
  while (!done) {
    const std::string text = Read("a");
    torn += text.size() < 40'000 || text.find_first_not_of(text[0]) != std::string::npos;
  }
  writer.join();
  EXPECT_EQ(torn, 0);
}

TEST(StatusFromErrnoTest, MapsCodesAndNamesActionAndPath) {
  EXPECT_EQ(StatusFromErrno(ENOSPC, "write", "p").code(), ErrorCode::kNoSpace);
  EXPECT_EQ(StatusFromErrno(EDQUOT, "write", "p").code(), ErrorCode::kNoSpace);
  EXPECT_EQ(StatusFromErrno(EFBIG, "write", "p").code(), ErrorCode::kNoSpace);
  EXPECT_EQ(StatusFromErrno(EROFS, "write", "p").code(), ErrorCode::kReadOnly);
  EXPECT_EQ(StatusFromErrno(ENOMEM, "write", "p").code(), ErrorCode::kOutOfMemory);
  const Status status = StatusFromErrno(EACCES, "open", "/some/path");
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_EQ(status.system_errno(), EACCES);
  EXPECT_EQ(status.message(),
            "could not open '/some/path': Permission denied; check owner and permissions");
}

TEST(ByteBufferTest, AlignedGrowsAndMoves) {
  ByteBuffer buffer;
  EXPECT_EQ(buffer.size(), 0u);
  for (size_t size : {1, 64, 100, 1'000'000, 10}) {
    ASSERT_TRUE(buffer.Reset(size));
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    std::fill_n(buffer.data(), size, uint8_t{7});
  }
  const uint8_t* data = buffer.data();
  ByteBuffer moved(std::move(buffer));
  EXPECT_EQ(moved.data(), data);
  EXPECT_EQ(buffer.size(), 0u);  // NOLINT(bugprone-use-after-move)
  buffer = std::move(moved);
  EXPECT_EQ(buffer.data(), data);
  buffer.Truncate(4);
  EXPECT_EQ(buffer.size(), 4u);
  EXPECT_EQ(buffer.bytes()[3], 7);
  buffer.Truncate(100);
  EXPECT_EQ(buffer.size(), 4u);
}

TEST(ByteBufferTest, OutOfMemoryLeavesItUnchanged) {
  ByteBuffer buffer;
  ASSERT_TRUE(buffer.Reset(3));
  volatile size_t huge = SIZE_MAX;
  EXPECT_FALSE(buffer.Reset(huge));
  EXPECT_FALSE(buffer.Reset(huge / 2));
  EXPECT_EQ(buffer.size(), 3u);
}

TEST(FileDescriptorTest, ClosesWhatItOwnsOnce) {
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  FileDescriptor reader(pipe_ends[0]);
  {
    FileDescriptor writer(pipe_ends[1]);
    FileDescriptor moved(std::move(writer));
    EXPECT_FALSE(writer.valid());  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(moved.get(), pipe_ends[1]);
  }
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 0) << "the writing end is still open";
  reader.Close();
  EXPECT_EQ(::fcntl(pipe_ends[0], F_GETFD), -1);
}

TEST(RandomHexTest, IsHexAndNeverTheSame) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const std::string text = RandomHex32();
    EXPECT_EQ(text.size(), 32u);
    EXPECT_EQ(text.find_first_not_of("0123456789abcdef"), std::string::npos);
    seen.insert(text);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

}  // namespace
}  // namespace barcache
